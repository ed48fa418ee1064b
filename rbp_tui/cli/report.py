"""`rbp report` and `rbp figure`: from finished runs to a paper's tables and figures."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbp_tui.cli import completion
from rbp_tui.cli.command_group import CommandGroup, QueryCommand
from rbp_tui.cli.options import Json, RunsDir
from rbp_tui.cli.output import console, print_json, print_lines, print_rich, say
from rbp_tui.cli.paper_report import print_missing, print_reproductions
from rbp_tui.text import format as fmt

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rbp_engine.report.cells import Cell
    from rbp_engine.report.collect import ExcludedRun
    from rbp_engine.report.figure import FigureView
    from rbp_engine.run.files.layout import RunDirectory

IncludeUnfinished = Annotated[
    bool, typer.Option("--include-unfinished", help="Count runs that have not completed, too.")
]
Output = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="FILE", help="The file: .pdf, .png or .svg.", show_default=False),
]
Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN",
        help="Runs to draw; all completed ones if none is named.",
        show_default=False,
        autocompletion=completion.runs,
    ),
]


# Below it, method and figures would be folded.
_WIDTH_WITH_COSTS = 110
LogY = Annotated[bool, typer.Option("--log-y", help="A log axis for all but accuracies.")]


def _limit(name: str, what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(name, help=what, show_default=False)
    return option


XMin = Annotated[float | None, _limit("--x-min", "Where x begins, in epochs or timesteps.")]
XMax = Annotated[float | None, _limit("--x-max", "Where x ends.")]
YMin = Annotated[float | None, _limit("--y-min", "Where y begins in the first panel, in its unit.")]
YMax = Annotated[float | None, _limit("--y-max", "Where y ends in the first panel.")]


class Format(StrEnum):
    TABLE = "table"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"


def register(app: typer.Typer) -> None:
    examples = "Examples:  rbp report 'T=4 digits' --format latex > table.tex   ·   rbp report --missing | sh"
    app.command(cls=QueryCommand, epilog=examples)(report)
    group = typer.Typer(
        cls=CommandGroup, name="figure", help="Draw figures for a paper from runs.", no_args_is_help=True
    )
    group.command(
        epilog="Examples:  rbp figure curves -o curves.pdf   ·   rbp figure curves --log-y --y-min 90 -o curves.pdf"
    )(curves)
    group.command("accuracy-vs-T", epilog="Example:  rbp figure accuracy-vs-T -o accuracy.pdf")(accuracy)
    group.command(epilog="Example:  rbp figure cost -o cost.pdf")(cost)
    app.add_typer(group)


def report(
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY",
            help="Which runs, in one quoted string, as for rbp ls: 'T=4 digits'; else all.",
            show_default=False,
            autocompletion=completion.query,
        ),
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="The output format; a table if left out.", show_default=False)
    ] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="For each published accuracy: do the runs here reproduce it?")
    ] = False,
    costs: Annotated[
        bool, typer.Option("--cost", help="With --paper: also measure what the missing runs would take here.")
    ] = False,
    missing: Annotated[
        bool,
        typer.Option(
            "--missing", help="Print the commands that would fill the paper's empty cells, where the data is here."
        ),
    ] = False,
    everything: Annotated[
        bool,
        typer.Option("--all", help="With --missing: those without data here; with --paper: cells without a figure."),
    ] = False,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            "--preset",
            metavar="P",
            help="With --missing or --paper: only of this preset, all of them.",
            show_default=False,
            autocompletion=completion.presets,
        ),
    ] = None,
    include_unfinished: IncludeUnfinished = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Tables like the paper's: mean and standard deviation over the seeds of each experiment.

    A row is one experiment; runs whose settings differ are never averaged.

    Accuracies are on the test set; the best is marked if its epoch was chosen on the test set, too.

    Runs that are left out are listed on stderr.
    """
    from rbp_engine.report.cells import make_cells
    from rbp_engine.report.collect import collect
    from rbp_engine.run.store.selection import fitting_runs
    from rbp_engine.run.store.store import run_directories
    from rbp_engine.settings.machine import runs_directory

    if as_json and form not in (None, Format.JSON):
        raise typer.BadParameter(f"--json and --format {form} contradict each other")
    form = Format.JSON if as_json else form or Format.TABLE
    runs = runs_directory(runs_dir)
    if paper and missing:
        raise typer.BadParameter("--paper and --missing are two questions: leave one of them out")
    if costs and not paper:
        raise typer.BadParameter("--cost needs --paper; rbp cost PRESET measures a preset, and rbp sweep a sweep")
    if missing or paper:
        if form not in (Format.TABLE, Format.JSON):
            raise typer.BadParameter(f"--{'paper' if paper else 'missing'} prints text or JSON, not {form}")
        if query:
            raise typer.BadParameter("a query chooses runs that are there; with --paper or --missing, name a --preset")
        if paper:
            print_reproductions(
                runs,
                preset or [],
                everything=everything,
                include_unfinished=include_unfinished,
                costs=costs,
                as_json=form is Format.JSON,
            )
            return
        print_missing(runs, runs_dir, preset or [], everything=everything, as_json=form is Format.JSON)
        return
    if preset or everything:
        raise typer.BadParameter(
            f"{'--preset' if preset else '--all'} needs --missing or --paper; a query chooses runs: 'T=4 digits'"
        )
    chosen = fitting_runs(runs, query, archived=True) if query else run_directories(runs)
    entries, excluded = collect(chosen, include_unfinished=include_unfinished)
    cells = make_cells(entries)
    if not cells and form is not Format.JSON:
        fitting = f" that fit {query!r}" if query else ""
        say("no {}runs in {}{} to report yet", "" if include_unfinished else "completed ", runs, fitting)
    _print_cells(form, cells, excluded, runs)
    if form is not Format.JSON:
        _report_excluded(excluded)


def curves(
    output: Output,
    runs: Runs = None,
    log_y: LogY = False,
    x_min: XMin = None,
    x_max: XMax = None,
    y_min: YMin = None,
    y_max: YMax = None,
    include_unfinished: IncludeUnfinished = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Validation top-1 and training loss against epochs: mean and standard deviation over the seeds."""
    from rbp_engine.report.figure import FigureView

    view = FigureView(log_y, x_min, x_max, y_min, y_max)
    _draw("curves", output, runs or [], runs_dir, view, include_unfinished=include_unfinished, as_json=as_json)


def accuracy(
    output: Output,
    runs: Runs = None,
    log_y: LogY = False,
    x_min: XMin = None,
    x_max: XMax = None,
    y_min: YMin = None,
    y_max: YMax = None,
    include_unfinished: IncludeUnfinished = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Last top-1 against the number of timesteps T, by method: mean and standard deviation over the seeds."""
    from rbp_engine.report.figure import FigureView

    view = FigureView(log_y, x_min, x_max, y_min, y_max)
    _draw("accuracy-vs-T", output, runs or [], runs_dir, view, include_unfinished=include_unfinished, as_json=as_json)


def cost(
    output: Output,
    runs: Runs = None,
    log_y: LogY = False,
    x_min: XMin = None,
    x_max: XMax = None,
    y_min: YMin = None,
    y_max: YMax = None,
    include_unfinished: IncludeUnfinished = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Peak memory and time of a step against T, by method; runs on different machines are kept apart."""
    from rbp_engine.report.figure import FigureView

    view = FigureView(log_y, x_min, x_max, y_min, y_max)
    _draw("cost", output, runs or [], runs_dir, view, include_unfinished=include_unfinished, as_json=as_json)


def _draw(
    kind: str,
    output: Path,
    references: Sequence[str],
    runs_dir: Path | None,
    view: "FigureView",
    *,
    include_unfinished: bool,
    as_json: bool,
) -> None:
    from rbp_engine.report.collect import collect
    from rbp_engine.report.figure import check_path, draw
    from rbp_engine.run.errors import RunError
    from rbp_engine.run.store.store import find_run, run_directories
    from rbp_engine.settings.machine import runs_directory

    check_path(output)
    runs = runs_directory(runs_dir)
    chosen: Sequence[RunDirectory] = [find_run(runs, reference) for reference in dict.fromkeys(references)]
    entries, excluded = collect(
        dict.fromkeys(chosen or run_directories(runs)), include_unfinished=include_unfinished or bool(chosen)
    )
    if not as_json:
        _report_excluded(excluded)
    if not entries:
        raise RunError(f"no {'' if include_unfinished else 'completed '}runs in {runs} to draw")
    draw(kind, entries, output, view)
    if as_json:
        ids = sorted(entry.run.id for entry in entries)
        print_json({"figure": str(output), "runs": ids, "left_out": [vars(run) for run in excluded]})
    else:
        say("drew {} into {}", fmt.counted(len(entries), "run"), output)


def _print_cells(form: Format, cells: "list[Cell]", excluded: "list[ExcludedRun]", runs: Path) -> None:
    from rbp_engine.report import tables

    if form is Format.JSON:
        print_json(tables.document(cells, excluded, runs))
    elif form is Format.CSV:
        print_lines(tables.csv_text(cells))
    elif cells and form is Format.TABLE:
        print_rich(_table(cells))
    elif cells:
        print_lines(tables.markdown(cells) if form is Format.MARKDOWN else tables.latex(cells))


def _table(cells: "list[Cell]") -> "RenderableType":
    """Settings that distinguish rows stand below the table by letter: they would not fit into 80 columns."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from rbp_engine.report import tables

    # Where there is no room for costs, they are in the other formats.
    costs = console().width >= _WIDTH_WITH_COSTS
    shown = tables.columns(cells, costs=costs)
    rows = tables.rows(cells, shown)
    letters = _letters([row.label for row in rows])
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="dim")
    for number, column in enumerate(shown):
        left = number < tables.LEFT_COLUMNS
        # The user's own network may have a long name; figures are never cut.
        table.add_column(column.head, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    for row in rows:
        words = [Text(word) for word in row.words]
        if row.label:
            words[tables.LEFT_COLUMNS] = Text.assemble((f"{letters[row.label]} ", "dim"), words[tables.LEFT_COLUMNS])
        table.add_row(*words)
    legend = [Text(f"{letter}  {label}") for label, letter in letters.items()]
    notes = [Text(note, style="dim") for note in tables.notes(cells, costs=costs)]
    return Group(table, Text(), *legend, *notes)


def _letters(labels: Sequence[str]) -> dict[str, str]:
    """A letter for each label: a to z, then `#27` and so on, which cannot be mistaken for a T."""
    distinct = [label for label in dict.fromkeys(labels) if label]
    return {label: chr(ord("a") + n) if n < 26 else f"#{n + 1}" for n, label in enumerate(distinct)}


def _report_excluded(excluded: "list[ExcludedRun]") -> None:
    if not excluded:
        return
    say("[yellow]left out {}[/]", fmt.counted(len(excluded), "run"))
    for run in excluded:
        say("  {}  [dim]{}[/]", run.id, run.reason)
