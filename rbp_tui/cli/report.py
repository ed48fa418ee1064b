"""`rbp report` and `rbp figure`: from finished runs to a paper's tables and figures."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from rbp_engine.settings.machine import runs_directory
from rbp_tui.cli.options import JUDGE, Json, Margin, RunsDir
from rbp_tui.cli.output import console, print_json, print_lines, print_rich, say
from rbp_tui.cli.runs.choice import SomeRuns, select
from rbp_tui.text import format as fmt

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rbp_engine.report.cells import Cell
    from rbp_engine.report.collect import ExcludedRun, ReportedRun

IncludeUnfinished = Annotated[
    bool, typer.Option("--include-unfinished", help="Count runs that have not completed, too.")
]

# Below it, method and figures would be folded.
_WIDTH_WITH_COSTS = 110


Format: TypeAlias = Literal["table", "markdown", "latex", "csv"]
FigureKind: TypeAlias = Literal["curves", "accuracy-vs-T", "differences", "cost", "gradients", "firing-rates"]


def _range(axis: str, what: str) -> Any:
    return typer.Option(f"--{axis}", metavar="FROM..TO", help=what, show_default=False)


def register(app: typer.Typer) -> None:
    app.command(
        rich_help_panel=JUDGE,
        epilog="Examples:  rbp report   ·   rbp report T=4 preset=digits --format latex > table.tex",
    )(report)
    app.command(
        rich_help_panel=JUDGE,
        epilog="Example:  rbp figure curves 3f2a 9c01 --log-y --y 90.. -o curves.pdf",
    )(figure)


def report(
    runs: SomeRuns = None,
    form: Annotated[Format, typer.Option("--format", help="The output format.")] = "table",
    margin: Margin = None,
    include_unfinished: IncludeUnfinished = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Tables like the paper's: mean and standard deviation over the seeds of each experiment.

    A row is one experiment; runs whose settings differ are never averaged.

    Accuracies are on the test set; the best is marked if its epoch was chosen on the test set, too.

    Runs that are left out are listed on stderr.
    """
    from rbp_engine.report import tables
    from rbp_engine.report.cells import make_cells

    if as_json and form != "table":
        raise typer.BadParameter(f"--json and --format {form} contradict each other")
    entries, excluded, which = _collected(runs, runs_dir, include_unfinished=include_unfinished)
    cells = make_cells(entries, margin)
    if as_json:
        print_json(tables.document(cells, excluded, runs_directory(runs_dir)))
        return
    if not cells:
        say("no {}runs {} have an accuracy to report yet", "" if include_unfinished else "completed ", which)
    _print_cells(form, cells)
    _report_excluded(excluded)


def figure(
    kind: Annotated[
        FigureKind,
        typer.Argument(
            metavar="KIND",
            help="curves: top-1 and loss by epoch; accuracy-vs-T: last top-1; differences: to the control, by seed; "
            "cost: memory and time of a step by T, those of different machines apart; gradients: against BPTT's, and "
            "errors of rate coding, by epoch and layer; firing-rates: by layer and timestep",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The file: .pdf, .png or .svg.", show_default=False)
    ],
    runs: SomeRuns = None,
    log_y: Annotated[bool, typer.Option("--log-y", help="A log axis for all but accuracies.")] = False,
    x: Annotated[str, _range("x", "Where x begins and ends: 10..50, or 10..")] = "",
    y: Annotated[str, _range("y", "Where y of the first panel begins and ends.")] = "",
    margin: Margin = None,
    include_unfinished: IncludeUnfinished = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Draw a figure for a paper: mean and standard deviation over the seeds of each experiment.

    Completed runs are drawn: those given, or all.
    """
    from rbp_engine.report.collect import ExcludedRun
    from rbp_engine.report.figure import FigureView, check_path, draw
    from rbp_engine.run.errors import RunError

    check_path(output)
    if margin is not None and kind != "differences":
        raise typer.BadParameter(f"--margin and {kind} contradict each other: only differences have a margin")
    view = FigureView(log_y, *_ends("--x", x), *_ends("--y", y), margin)
    entries, excluded, which = _collected(runs, runs_dir, include_unfinished=include_unfinished)
    if kind != "curves":  # the others are by T
        excluded += [ExcludedRun(one.run.id, "it says no T") for one in entries if not one.summary.timesteps]
        entries = [one for one in entries if one.summary.timesteps]
    if not as_json:
        _report_excluded(excluded)
    if not entries:
        raise RunError(
            f"no runs {which} to draw"
            if include_unfinished
            else f"no completed runs {which} to draw; --include-unfinished draws the others"
        )
    draw(kind, entries, output, view)
    if as_json:
        ids = sorted(entry.run.id for entry in entries)
        print_json({"figure": str(output), "runs": ids, "left_out": [vars(run) for run in excluded]})
    else:
        say("drew {} into {}", fmt.counted(len(entries), "run"), output)


def _collected(
    runs: list[str] | None, runs_dir: Path | None, *, include_unfinished: bool
) -> "tuple[list[ReportedRun], list[ExcludedRun], str]":
    """The runs that count of those that are named, or of all; those that do not; and which were meant, in words."""
    from rbp_engine.report.collect import collect
    from rbp_engine.run.store.store import run_directories

    directory = runs_directory(runs_dir)
    chosen = select(runs, runs_dir, archived=True) if runs else run_directories(directory)
    return *collect(chosen, include_unfinished=include_unfinished), "of these" if runs else f"in {directory}"


def _ends(option: str, text: str) -> tuple[float | None, float | None]:
    """Where an axis begins and ends; None where that is left to the figure."""
    begin, _, end = text.partition("..")
    try:
        return float(begin) if begin else None, float(end) if end else None
    except ValueError:
        raise typer.BadParameter(f"expected numbers as 10..50, or 10.., got {text!r}", param_hint=option) from None


def _print_cells(form: Format, cells: "list[Cell]") -> None:
    from rbp_engine.report import tables

    if form == "csv":
        print_lines(tables.csv_text(cells))
    elif cells and form == "table":
        print_rich(_table(cells))
    elif cells:
        print_lines(tables.markdown(cells) if form == "markdown" else tables.latex(cells))


def _table(cells: "list[Cell]") -> "RenderableType":
    """Settings that distinguish rows stand below the table by letter: they would not fit into 80 columns."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from rbp_engine.report import tables

    # Where there is no room for costs, they are in the other formats.
    costs = console().width >= _WIDTH_WITH_COSTS
    shown, every = (tables.columns(cells, costs=with_them, settings=False) for with_them in (costs, True))
    letters = _letters(list(map(tables.label, cells)))
    alike = itertools.groupby(
        cells, lambda cell: (cell.first.data, cell.first.network, cell.first.method, cell.first.timesteps)
    )
    rank = ["", *letters].index
    rows = [cell for _, some in alike for cell in sorted(some, key=lambda cell: rank(tables.label(cell)))]
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="dim")
    for column in shown:
        # The user's own network may have a long name; figures are never cut.
        table.add_column(
            column.head, justify="left" if column.left else "right", no_wrap=not column.left, overflow="fold"
        )
    beside = [column.left for column in shown].index(False)
    for cell in rows:
        words = [Text(column.word(cell)) for column in shown]
        if letter := letters.get(tables.label(cell)):
            words[beside] = Text.assemble((f"{letter} ", "dim"), words[beside])
        table.add_row(*words)
    legend = [Text(f"{letter}  {label}") for label, letter in letters.items()]
    notes = [Text(note, style="dim") for note in tables.notes(cells, costs=costs)]
    if missing := ", ".join(column.head for column in every if column not in shown):
        notes.append(Text(f"no room for {missing}: {_WIDTH_WITH_COSTS} columns or --format markdown show them", "dim"))
    return Group(table, Text(), *legend, *notes)


def _letters(labels: Sequence[str]) -> dict[str, str]:
    """A letter for each label: a to z, then `#27` and so on, which cannot be mistaken for a T."""
    distinct = [label for label in dict.fromkeys(labels) if label]
    return {label: chr(ord("a") + n) if n < 26 else f"#{n + 1}" for n, label in enumerate(distinct)}


def _report_excluded(excluded: "list[ExcludedRun]") -> None:
    if not excluded:
        return
    say("[yellow]left out {}[/]", fmt.counted(len(excluded), "run"))
    by_reason: dict[str, list[str]] = {}
    for run in excluded:
        by_reason.setdefault(run.reason, []).append(run.id)
    for reason, ids in by_reason.items():
        named = ids[0] if len(ids) == 1 else f"{len(ids)} runs, one of them {ids[0]}"
        say("  {}  [dim]{}[/]", named, reason)
