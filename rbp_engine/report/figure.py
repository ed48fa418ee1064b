"""Draw figures for a two-column paper. matplotlib is imported here, and only when something is drawn."""

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbp_engine.report.collect import Entry
from rbp_engine.report.names import METHODS
from rbp_engine.report.panels import FIGURES, Line, Panel
from rbp_engine.run.errors import RunError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".pdf", ".png", ".svg")

# Inches: the text width of a two-column page, one of its columns, and the height of a row of panels.
PAGE, COLUMN, HEIGHT = 6.9, 3.35, 2.1
# Characters: a line of a legend, and what stands beside others in one.
WRAP, SHORT = 26, 10
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType, which publishers accept and readers can search
    "ps.fonttype": 42,
    "svg.hashsalt": "rbp",  # the same data give the same file
}


def draw(kind: str, entries: Sequence[Entry], path: Path) -> None:
    """Draw the figure `kind`, one of FIGURES, of these runs; the suffix of `path` is its format.

    Raises RunError for another suffix, a path that cannot be written, and runs that have nothing to draw.
    """
    check_path(path)
    rows = FIGURES[kind](entries)
    if not any(line.points for panels in rows for panel in panels for line in panel.lines):
        raise RunError("these runs have no events to draw: nothing was written")
    image = render(rows, path.suffix.lower())
    try:
        path.write_bytes(image)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error


def check_path(path: Path) -> None:
    """Raise RunError where a figure could not be written to `path`, before any work is done."""
    if path.suffix.lower() not in SUFFIXES:
        raise RunError(f"cannot draw {path.name!r}: its name must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if not path.parent.is_dir():
        raise RunError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise RunError(f"cannot write {path}: it is a folder")


def render(rows: Sequence[Sequence[Panel]], suffix: str) -> bytes:
    """The figure as a file of that format."""
    from matplotlib import style
    from matplotlib.figure import Figure

    columns = max(len(panels) for panels in rows)
    width = COLUMN if columns == 1 else PAGE
    out = io.BytesIO()
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(width, HEIGHT * len(rows) + 0.3), layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for number, panels in enumerate(rows):
            for axes, panel in zip(grid[number], panels, strict=False):
                _draw_panel(axes, panel)
            for unused in grid[number][len(panels) :]:
                unused.set_visible(False)
            _add_legend(grid[number], panels, columns)
        stamp = {".pdf": "CreationDate", ".svg": "Date"}.get(suffix)
        figure.savefig(out, format=suffix[1:], metadata={stamp: None} if stamp else None)
    return out.getvalue()


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, line in enumerate(panel.lines):
        if line.points:
            (_draw_points if panel.timesteps else _draw_band)(axes, line, panel.scale, number)
    axes.set_xlabel(panel.xlabel.replace("Timesteps T", "Timesteps $T$"))
    axes.set_ylabel(_escaped(panel.ylabel))
    if panel.timesteps:
        axes.set_xticks(sorted({timesteps for line in panel.lines for timesteps in line.points}))
        axes.margins(x=0.08, y=0.12)
        highest = max((p.mean + (p.std or 0.0) for line in panel.lines for p in line.points.values()), default=0.0)
        if panel.from_zero and highest > 0:
            axes.set_ylim(0, 1.1 * panel.scale * highest)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.02)


def _draw_points(axes: "Axes", line: Line, scale: float, number: int) -> None:
    x = list(line.points)
    y = [scale * point.mean for point in line.points.values()]
    # A single run has no deviation; matplotlib leaves out a bar that is not a number.
    bars = [math.nan if point.std is None else scale * point.std for point in line.points.values()]
    axes.errorbar(
        x,
        y,
        yerr=bars,
        label=_label(line.label),
        color=line.colour,
        linestyle=DASHES[line.number % len(DASHES)],
        marker=MARKERS[number % len(MARKERS)],
        capsize=2,
        elinewidth=0.8,
    )


def _draw_band(axes: "Axes", line: Line, scale: float, number: int) -> None:
    x = list(line.points)
    y = [scale * point.mean for point in line.points.values()]
    dash = DASHES[line.number % len(DASHES)]
    # A single epoch makes no line, so it is marked.
    marker = MARKERS[number % len(MARKERS)] if len(x) == 1 else ""
    axes.plot(x, y, label=_label(line.label), color=line.colour, linestyle=dash, marker=marker)
    deviations = [scale * (point.std or 0.0) for point in line.points.values()]
    if any(deviations):
        low = [middle - deviation for middle, deviation in zip(y, deviations, strict=True)]
        high = [middle + deviation for middle, deviation in zip(y, deviations, strict=True)]
        axes.fill_between(x, low, high, color=line.colour, alpha=0.2, linewidth=0)


def _add_legend(row: Sequence["Axes"], panels: Sequence[Panel], columns: int) -> None:
    """One legend on the right where all panels of a row show the same lines, else one above each panel."""
    shown = [[line.label for line in panel.lines] for panel in panels]
    if columns > 1 and all(labels == shown[0] for labels in shown):
        # The panel with most lines: one of them may lack the points of a line.
        filled = max(range(len(panels)), key=lambda number: sum(bool(line.points) for line in panels[number].lines))
        handles, words = row[filled].get_legend_handles_labels()
        row[len(panels) - 1].legend(handles, words, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return
    for axes, labels in zip(row, shown, strict=False):
        short = all(len(label) <= SHORT for label in labels)
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3 if short else 1)


def _label(text: str) -> str:
    """A label in lines of moderate length, never broken inside of a setting; rate_M with its index."""
    lines = _escaped(textwrap.fill(text.replace(" = ", "\u00a0=\u00a0"), WRAP, break_long_words=False))
    for name in METHODS.values():
        base, index, mode = name.partition("_")
        if index and (lines == name or lines.startswith(f"{name},")):
            return f"{base}$_\\mathrm{{{mode}}}${lines.removeprefix(name)}"
    return lines


def _escaped(text: str) -> str:
    # Two dollar signs would begin a formula, and a bad formula ends the drawing.
    return text.replace("$", r"\$")
