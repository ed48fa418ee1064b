"""`rbp paper`: published accuracies beside ours, and the runs that would measure them."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbp_engine.data.catalog import CATALOG, catalogued
from rbp_engine.printable import visible
from rbp_engine.report.names import data_set, network
from rbp_engine.settings.machine import runs_directory
from rbp_engine.settings.spelling import did_you_mean
from rbp_tui.cli import completion
from rbp_tui.cli.options import JUDGE, Json, RunsDir
from rbp_tui.cli.output import cell, print_json, print_lines, print_rich, say
from rbp_tui.cli.report import IncludeUnfinished
from rbp_tui.text import format as fmt

if TYPE_CHECKING:
    from rich.table import Table

    from rbp_engine.report.paper import MissingRun, PaperCell
    from rbp_engine.report.reproduction import Reproduction
    from rbp_engine.run.files.layout import RunDirectory

NO_CELL = "the paper has no cell of these presets"


def register(app: typer.Typer) -> None:
    app.command(
        rich_help_panel=JUDGE,
        epilog="Examples:  rbp paper   ·   rbp paper cifar10-resnet18 --cost   ·   rbp paper --missing | sh",
    )(paper)


def paper(
    presets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PRESET",
            help="Presets that reproduce a cell of the paper; else all.",
            show_default=False,
            autocompletion=completion.presets,
        ),
    ] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Print the commands of the runs that are missing, where the data is here.")
    ] = False,
    costs: Annotated[bool, typer.Option("--cost", help="Measure what the missing runs would take here.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also cells without a figure; with --missing, runs without data here.")
    ] = False,
    include_unfinished: IncludeUnfinished = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """For each published accuracy: do the runs here reproduce it?"""
    from rbp_engine.report.paper import paper_cells
    from rbp_engine.run.store.store import run_directories

    names = presets or []
    require_presets(names)
    for option, given in (("--cost", costs), ("--include-unfinished", include_unfinished)):
        if missing and given:
            raise typer.BadParameter(f"--missing prints commands, and {option} changes none: leave one of them out")
    runs = run_directories(runs_directory(runs_dir))
    cells, troubles = paper_cells(names)
    if missing:
        _print_missing(runs, cells, runs_dir, everything=everything or bool(names), whole=not troubles, as_json=as_json)
    else:
        _print_reproductions(
            runs, cells, everything=everything, include_unfinished=include_unfinished, costs=costs, as_json=as_json
        )
    for trouble in troubles:
        say("[yellow]left out[/] {}", trouble)


def _print_missing(
    runs: "Iterable[RunDirectory]",
    cells: "Sequence[PaperCell]",
    runs_dir: Path | None,
    *,
    everything: bool,
    whole: bool,
    as_json: bool,
) -> None:
    """Print the commands of missing runs: those whose data is here first, the others only if asked for.

    `whole`: the cells are all that there are.
    """
    from rbp_engine.report.paper import missing_runs

    missing = missing_runs(runs, cells)
    if as_json:
        print_json([one.plain(runs_dir) for one in missing])
        return
    named = {one.cell.data for one in missing}
    absent = {name for name in named if name in CATALOG and not catalogued(name).find().found}
    to_do = sorted((one for one in missing if one.live is None), key=lambda one: one.cell.data in absent)
    shown = [one for one in to_do if everything or one.cell.data not in absent]
    print_lines(visible("".join(f"{one.command(runs_dir)}\n" for one in shown)))
    for one in missing:
        if one.live is not None:
            say("[dim]under way as {}: {}[/]", one.live, one.command(runs_dir))
    if to_do:
        say("[dim]{}[/]", _to_do_text(to_do, absent, hidden=len(to_do) - len(shown)))
    if not missing and whole:
        say("{}", "no cell of the paper is empty" if cells else NO_CELL)


def _to_do_text(to_do: "Sequence[MissingRun]", absent: Collection[str], *, hidden: int) -> str:
    """How many runs are left to train, how many of them lack which data, and how to see what is not shown."""
    without = Counter(one.cell.data for one in to_do if one.cell.data in absent)
    text = f"{fmt.counted(len(to_do), 'run')} to train"
    if without:
        names = ", ".join(f"{name} {count}" for name, count in without.most_common())
        text += f", {without.total()} of them without data here: {names} (rbp data list)"
    return f"{text}; --all prints their commands" if hidden else text


def _print_reproductions(
    runs: "Iterable[RunDirectory]",
    cells: "Sequence[PaperCell]",
    *,
    everything: bool,
    include_unfinished: bool,
    costs: bool,
    as_json: bool,
) -> None:
    """Print for each published accuracy whether the runs here reproduce it.

    Cells that no source gives a figure for are shown if there are runs of them, or with `everything`. With `costs` what
    the missing runs of the shown cells would take here is measured.
    """
    from rbp_engine.report.collect import collect
    from rbp_engine.report.reproduction import reproductions

    entries, _ = collect(runs, include_unfinished=include_unfinished)
    found = reproductions(cells, entries)
    shown = [one for one in found if everything or one.last is not None or isinstance(one.cell.published, float)]
    run_s = _seconds_of_runs(shown) if costs else {}
    if as_json:
        print_json([reproduction_plain(one, run_s.get(one.cell.experiment)) for one in found])
        return
    if shown:
        print_rich(_reproduction_table(shown, run_s))
    for line in _reproduction_lines(found, hidden=len(found) - len(shown)) if found else [NO_CELL]:
        say("[dim]{}[/]", line)
    if run_s:
        seconds = sum(run_s.get(one.cell.experiment, 0.0) * len(one.missing) for one in shown)
        say("[dim]the missing runs of these cells would take {} here, one after the other[/]", fmt.duration(seconds))


def require_presets(names: Sequence[str]) -> None:
    """Raise BadParameter for a name that no preset has."""
    from rbp_engine.preset import list_presets

    known = [entry.name for entry in list_presets()]
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"no preset is called '{unknown[0]}'.{did_you_mean(unknown[0], known)}")


def _seconds_of_runs(found: "Sequence[Reproduction]") -> dict[str, float]:
    """What a run of each cell with missing runs would take here, by its experiment; those of the same cost are measured
    once."""
    from rbp_engine.plan.estimate import kind_of
    from rbp_engine.preset import load_preset
    from rbp_tui.cli.sweep.cost import measured_prices

    todo = {
        one.cell.experiment: load_preset(one.cell.preset, [f"method={one.cell.method}", f"T={one.cell.timesteps}"])
        for one in found
        if one.missing
    }
    kinds = {experiment: kind_of(loaded) for experiment, loaded in todo.items()}
    prices = measured_prices({kinds[experiment]: loaded for experiment, loaded in todo.items()})
    return {
        experiment: prices[kind].start_s + todo[experiment].preset.train.epochs * prices[kind].epoch_s
        for experiment, kind in kinds.items()
        if kind in prices
    }


def reproduction_plain(one: "Reproduction", run_s: float | None) -> dict[str, object]:
    """A published accuracy and ours for JSON; accuracies are fractions, `run_s` the seconds of a run, if measured."""
    cell = one.cell
    return {
        "preset": cell.preset,
        "data": cell.data,
        "network": cell.network,
        "method": cell.method,
        "timesteps": cell.timesteps,
        "experiment": cell.experiment,
        "paper": cell.published,
        "answer": one.answer,
        "last": vars(one.last) if one.last else None,
        "best": vars(one.best) if one.best else None,
        "difference": one.difference.mean if one.difference else None,
        "interval": one.judged.interval if one.judged else None,
        "missing_seeds": one.missing,
        "run_s": run_s,
    }


def _reproduction_table(found: "Sequence[Reproduction]", run_s: Mapping[str, float]) -> "Table":
    from rbp_engine.report.tables import spread_text
    from rbp_tui.text.text_table import empty_table

    table = empty_table(["data set", "network", "method"], ["T", "paper %", "last %"], collapse_padding=True)
    table.add_column("reproduced?")
    for one in found:
        place = one.cell
        words = (
            data_set(place.data),
            network(place.network),
            fmt.method(place.method),
            str(place.timesteps),
            fmt.percent(place.published) if isinstance(place.published, float) else "–",
            spread_text(one.last),
            _answer_text(one, run_s.get(place.experiment)),
        )
        table.add_row(*map(cell, words))
    return table


def _answer_text(one: "Reproduction", run_s: float | None) -> str:
    """As `yes: −0.11 ± 0.24`, or `not measured: 3 × 4h20`, short enough for 80 columns."""
    from rbp_engine.report.reproduction import Answer

    if one.answer is Answer.NOT_MEASURED and run_s is not None:
        return f"{one.answer}: {len(one.missing)} × {fmt.duration(run_s)}"
    if one.answer is Answer.NOT_MEASURED:
        return one.answer
    if one.judged is None:
        return "undecided: one run" if isinstance(one.cell.published, float) else "no published figure"
    word = {Answer.REPRODUCED: "yes", Answer.NOT_REPRODUCED: "no"}.get(one.answer, one.answer)
    return f"{word}: {fmt.points(one.judged.difference.mean)} ± {fmt.percent(one.judged.interval)}"


def _reproduction_lines(found: "Sequence[Reproduction]", *, hidden: int) -> Iterator[str]:
    """How many cells have which answer, and what the interval is."""
    from rbp_engine.report.reproduction import MARGIN, Answer

    counts = Counter(one.answer for one in found)
    parts = ", ".join(f"{counts[answer]} {answer}" for answer in Answer if counts[answer])
    yield (
        f"{fmt.counted(len(found), 'cell')}: {parts}"
        + (f"; {hidden} of them have no published figure (--all shows them)" if hidden else "")
    )
    if any(one.judged for one in found):
        yield (
            f"yes: the last accuracy is equivalent within {100 * MARGIN:.0f} point by two one-sided t tests; no: it is "
            "not, and differs; both at 5 %, corrected by Holm for all cells; ± is half of the 90 % interval"
        )
    if todo := sum(len(one.missing) for one in found if isinstance(one.cell.published, float)):
        yield f"{fmt.counted(todo, 'run')} would complete the published cells: rbp paper --missing"
