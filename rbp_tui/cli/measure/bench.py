"""`rbp bench`: the cost of a training step by method."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbp_tui.cli import completion
from rbp_tui.cli.measure.busy import say_if_busy
from rbp_tui.cli.options import JUDGE, MORE, Json
from rbp_tui.cli.output import fail, print_json, print_rich, say
from rbp_tui.cli.progress import progress
from rbp_tui.cli.settings_command import SettingsCommand
from rbp_tui.cli.trust import warn_of_shared_presets
from rbp_tui.text import format as fmt
from rbp_tui.text.styled import styled

if TYPE_CHECKING:
    from rich.table import Table

    from rbp_engine.bench.measure.interleave import StepMeasurement
    from rbp_engine.bench.results.comparison import Candidate, ComparisonRow

# The network of the table in docs/bench.md, used if none is named.
PRESET = "cifar10-resnet18"


@dataclass(frozen=True)
class Extent:
    """What is measured where nothing says it; `batch` only where no preset is named."""

    against: str
    batch: int
    rounds: int
    methods: tuple[str, ...] = ("rate_m",)
    timesteps: tuple[str, ...] = ("4",)
    precisions: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()


# Two minutes on two old cores, and the table in docs/bench.md.
QUICK = Extent("spikingjelly", 8, 3, ("rate_m", "bptt"))
LATENCY = Extent("spikingjelly,ann", 1, 3, kernels=("eager", "compiled"))
FULL = Extent("all", 32, 5, ("rate_m", "rate_s", "bptt"), ("1", "2", "4", "8"))
#: The settings that may have several values, and where an `Extent` has them.
VARIED = {
    "method.name": "methods",
    "method.timesteps": "timesteps",
    "train.precision": "precisions",
    "train.kernel": "kernels",
}
# About how long a process loads torch and takes its first steps, for the time announced only.
PROCESS_S = 8.0
INTERRUPTED = 130
HEADS = ("step", "images/s", "memory", "saved", "units", "time", "memory", "over floor")
NAME_WIDTH = 16  # longer names have several lines
LATENCY_HEADS = ("predict", "step", "memory", "predict", "time", "memory", "over floor")


def register(app: typer.Typer) -> None:
    app.command(
        cls=SettingsCommand,
        rich_help_panel=JUDGE,
        epilog="Examples:  rbp bench   ·   rbp bench digits T=2,4,8 -o cost.svg   ·   "
        "rbp bench method=rate_m train.precision=fp32,bf16",
    )(bench)


def bench(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PRESET KEY=VALUE",
            help=f"The network, {PRESET} if not named, and settings: method=rate_m,bptt T=2,4 batch=32 "
            "train.precision=fp32,bf16 train.kernel=eager,compiled, of which every combination is measured.",
            show_default=False,
            autocompletion=completion.preset_then_settings,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="B,B,…",
            help="Baselines of spikingjelly,memopt,checkpoint,ann, or all; an empty text for none: "
            f"{QUICK.against} if left out.",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            rich_help_panel=MORE,
            help=f"Rounds; medians are shown: {QUICK.rounds} if left out.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="What is left out becomes rate_M, rate_S, BPTT, all baselines, T=1,2,4,8, five rounds."
        ),
    ] = False,
    latency: Annotated[
        bool,
        typer.Option(
            "--latency",
            rich_help_panel=MORE,
            help="Also a prediction; what is left out becomes one image, kernels eager and compiled.",
        ),
    ] = False,
    busy: Annotated[
        bool,
        typer.Option(
            "--busy",
            rich_help_panel=MORE,
            help="Let the baselines' threads sleep, not spin, even if no other programs run now.",
        ),
    ] = False,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write .json, or draw .svg, .pdf, .png.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a training step: method by T by precision by kernel, against SpikingJelly's BPTT at its best.

    Each variant has its own process; they take turns. The data need not be here: random images do. Alone it takes some
    minutes and compares rate_M with BPTT; --full adds rate_S, other T and all baselines, which takes hours on a CPU.

    Ctrl-C ends it and prints what has been measured. Exit codes: 0 measured, 1 something could not be measured, 2 a
    setting is wrong, 130 interrupted.
    """
    if full and latency:
        raise typer.BadParameter("--full or --latency: one choice of what is left out")
    extent = FULL if full else LATENCY if latency else QUICK
    from rbp_engine.preset.sweep.section import key_of, split_values

    named = [word for word in words or [] if "=" not in word]
    typed = {key_of(word): split_values(word.partition("=")[2]) for word in words or [] if "=" in word}
    overrides = [word for word in words or [] if "=" in word and key_of(word) not in VARIED]
    if not ("data.batch_size" in typed or (named and not latency)):
        overrides.insert(0, f"batch={extent.batch}")
    if len(named) > 1:
        raise typer.BadParameter(f"one preset, then KEY=VALUE words; got {' and '.join(named)}")
    for name in named:
        warn_of_shared_presets(name)
    for path in output or []:
        _check(path)
    from rbp_engine.bench.measure.load import QUIET
    from rbp_engine.bench.results import comparison

    baselines = (extent.against if against is None else against).replace(",", " ").split()
    methods, timesteps, precisions, kernels = (
        [value for value in typed.get(key, getattr(extent, name)) if value] for key, name in VARIED.items()
    )
    wanted = comparison.candidates(
        named[0] if named else PRESET,
        overrides,
        methods=methods,
        timesteps=_numbers(timesteps),
        precisions=precisions,
        kernels=kernels,
        against=comparison.baselines(baselines),
    )
    if not wanted:
        missing = "a method (method=rate_m) or a baseline (--against)" if timesteps else "a number of timesteps (T=4)"
        raise typer.BadParameter(f"nothing to measure: name {missing}")
    share = say_if_busy("baselines run as with --busy")
    rows, whole = _measure(wanted, repeats or extent.rounds, predictions=latency, busy=busy or share > QUIET)
    document = comparison.document(rows, wanted, share)
    if as_json:
        print_json(document)
    else:
        print_rich(_table(rows, latency=latency))
        _say_how_sure(rows)
        if not (full or latency or typed or named):
            say("[dim]more:[/] rbp bench T=4,8 batch=32  ·  rbp bench --full  ·  -h")
    # After what was measured has been printed: a disk may be full by now.
    written = [_write(path, rows, document) for path in output or []]
    if not whole:
        raise typer.Exit(fail("interrupted: these are the figures so far", INTERRUPTED))
    for row in rows:
        if row.problem:
            fail(f"{row.method}, T = {row.timesteps}: {row.problem}", 1)
    raise typer.Exit(0 if all(written) and not any(row.problem for row in rows) else 1)


def _numbers(words: Sequence[str]) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError:
        raise typer.BadParameter(f"T takes whole numbers with commas between them, got '{','.join(words)}'") from None


def _check(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is measured."""
    from rbp_engine.report.figure import check_path

    if path.suffix.lower() != ".json":
        check_path(path)
    elif not path.parent.is_dir() or path.is_dir():
        raise typer.BadParameter(f"cannot write {path}: expected a .json file in an existing folder")


def _measure(
    wanted: "list[Candidate]", rounds: int, *, predictions: bool, busy: bool
) -> "tuple[list[ComparisonRow], bool]":
    """Measure, with the progress on stderr; the rows, and whether they are all."""
    from rbp_engine.bench.measure.interleave import TURN_S, memory_processes
    from rbp_engine.bench.results.comparison import compare

    first = wanted[0].loaded
    taken = "training steps and predictions" if predictions else "training steps"
    ways, loads = fmt.counted(len(wanted), "variant"), len(wanted) * (1 + memory_processes(rounds))
    seconds = len(wanted) * (PROCESS_S * (1 + memory_processes(rounds)) + rounds * 2 * TURN_S)
    what = (
        f"measuring {taken} of {first.preset.model.name}, "
        f"B = {first.preset.data.batch_size}: {ways}, {fmt.counted(rounds, 'round')}, in {loads} processes one after "
        f"the other: about {fmt.duration(seconds)}, longer if networks must be compiled first"
    )
    with progress(what) as on_progress:
        return compare(wanted, rounds=rounds, predictions=predictions, busy=busy, on_progress=on_progress)


def _say_how_sure(rows: "Sequence[ComparisonRow]") -> None:
    """The number of rounds, how far they are apart, and what other programs did meanwhile."""
    from rbp_engine.bench.measure.load import QUIET
    from rbp_engine.bench.results.figure import title

    measured = [row.measured for row in rows if row.measured is not None]
    if measured:
        fewest, most = (choose(one.rounds for one in measured) for choose in (min, max))
        rounds = fmt.counted(most, "round") if fewest == most else f"{fewest} to {most} rounds"
        apart = f"{100 * max(one.spread for one in measured):.0f}"
        say("[dim]step: median of {}, which are up to {} % of it apart[/]", rounds, apart)
    if unreliable := [row for row in rows if row.measured and not row.measured.reliable]:
        names = ", ".join(f"{title(row, ' ')} at T = {row.timesteps}" for row in unreliable)
        say("[yellow]unreliable, with rounds that are too far apart: {}[/]", names)
    busiest = max((turn.busy for one in measured for turn in one.turns), default=0.0)
    if busiest > QUIET:
        say("[yellow]other programs used up to {} % of the cores meanwhile[/]", f"{100 * busiest:.0f}")


def _write(path: Path, rows: "Sequence[ComparisonRow]", document: Any) -> bool:
    """Write or draw the rows, or say why not; whether it was done."""
    import json

    from rbp_engine.bench.results.figure import draw
    from rbp_engine.run.errors import RunError, cannot

    to_json = path.suffix.lower() == ".json"
    try:
        if to_json:
            with cannot(f"write {path}"):
                path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        else:
            draw(rows, path)
    except RunError as error:
        fail(str(error), 1)
        return False
    say("written: {}" if to_json else "drawn: {}", path)
    return True


def _table(rows: "Sequence[ComparisonRow]", *, latency: bool) -> "Table":
    """One row per variant, grouped by T; ratios to the best of SpikingJelly's BPTT, and to each one's own floor."""
    from rich.table import Column

    from rbp_engine.bench.results.figure import title
    from rbp_tui.text.text_table import empty_table

    heads, figures = (LATENCY_HEADS, _latency_figures) if latency else (HEADS, _figures)
    table = empty_table([Column(min_width=NAME_WIDTH)], heads, collapse_padding=True)
    for timesteps, group in groupby(rows, key=lambda row: row.timesteps):
        table.add_row(styled("[bold]T = {}[/]", timesteps))
        for row in group:
            found = row.measured
            name = ", ".join(filter(None, (title(row, " "), found.setting if found else "")))
            table.add_row(name, *(figures(row, found) if found else ["–"] * len(heads)))
    return table


def _figures(row: "ComparisonRow", measured: "StepMeasurement") -> list[str]:
    from rbp_tui.text.cost_text import span

    units = "–" if measured.units is None else f"{measured.units:.1f}"
    memory = [fmt.size(measured.peak), fmt.size(measured.saved), units]
    return [
        span(measured.seconds),
        fmt.thousands(row.samples_per_s),
        *memory,
        *_ratios(row.time, row.memory, row.over_floor),
    ]


def _latency_figures(row: "ComparisonRow", measured: "StepMeasurement") -> list[str]:
    times = ["–" if one is None else f"{1000 * one:.1f} ms" for one in (measured.predict_seconds, measured.seconds)]
    return [*times, fmt.size(measured.peak), *_ratios(row.prediction, row.time, row.memory, row.over_floor)]


def _ratios(*ratios: float | None) -> list[str]:
    return ["–" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
