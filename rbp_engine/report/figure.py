"""Draw figures for a two-column paper. Matplotlib is imported only to draw."""

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rbp_engine.report.collect import ReportedRun
from rbp_engine.report.panels import COLOURS, FIGURES, Panel, PanelLine
from rbp_engine.run.errors import RunError, cannot
from rbp_engine.vocabulary import TRAINING_METHODS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".pdf", ".png", ".svg")

# Inches: the text width of a two-column page, one of its columns, and the height of a row of panels.
PAGE, COLUMN, HEIGHT = 6.9, 3.35, 2.1
# Legends: characters per line, and in inches the width of a character, the space beside the text, and a line's height.
WRAP, CHARACTER, BESIDE, LINE = 46, 0.056, 0.5, 0.125
PAD = 0.04  # inches around a panel with its labels
DASHES = ("-", "--", ":", "-.")
MOST_PIXELS = 2**16  # of the height of an image
MOST_TICKS = 12
OPACITY, MARKED = 0.8, 8  # of lines, and how many of their points have markers
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


@dataclass(frozen=True)
class FigureView:
    """Which part of the data a figure shows, in the units of its labels; None is as far as the data go.

    The limits of y are those of the first panel of each row, and of every panel of accuracies: a row's other panels
    show something else. With `log_y`, all but accuracies are on a log axis. `margin`, a fraction, is the difference
    that counts as equivalent.
    """

    log_y: bool = False
    x_min: float | None = None
    x_max: float | None = None
    y_min: float | None = None
    y_max: float | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        """Raise RunError unless the limits are in order, and possible on a log axis."""
        for name, low, high in (("x", self.x_min, self.x_max), ("y", self.y_min, self.y_max)):
            if not all(math.isfinite(limit) for limit in (low, high) if limit is not None):
                raise RunError(f"the limits of {name} must be finite")
            if low is not None and high is not None and low >= high:
                raise RunError(f"the limits of {name}: {low:g} must be below {high:g}")


EVERYTHING = FigureView()


def draw(kind: str, entries: Sequence[ReportedRun], path: Path, view: FigureView = EVERYTHING) -> None:
    """Draw the figure `kind`, one of FIGURES, of these runs; the suffix of `path` is its format.

    Raises RunError for an unknown suffix, a path that cannot be written, and runs without data to draw.
    """
    rows = FIGURES[kind](entries)
    if not any(line.points for panels in rows for panel in panels for line in panel.lines):
        raise RunError(f"these runs have no {kind} to draw: nothing was written")
    write(rows, path, view)


def write(rows: Sequence[Sequence[Panel]], path: Path, view: FigureView = EVERYTHING) -> None:
    """Write the figure of these rows of panels. Raises RunError like `draw`, and if it is too tall for its format."""
    check_path(path)

    def composed() -> "Figure":
        figure = compose(rows, view)
        if path.suffix.lower() == ".png" and figure.get_figheight() * STYLE["savefig.dpi"] >= MOST_PIXELS:
            lines = sum(len(panels[0].lines) for panels in rows)
            raise RunError(f"a PNG has no room for {lines} lines and their legends: write a .pdf, or name fewer runs")
        return figure

    write_figure(composed, path)


def write_figure(make: Callable[[], "Figure"], path: Path, **style_of_its_own: Any) -> None:
    """Write a figure in the format that the suffix of `path` names; `make` composes it, in our style.

    Raises RunError if the file cannot be written.
    """
    from matplotlib import style

    out, suffix = io.BytesIO(), path.suffix.lower()
    stamp = {".pdf": "CreationDate", ".svg": "Date"}.get(suffix)
    with style.context(["default", STYLE, style_of_its_own]):
        make().savefig(out, format=suffix[1:], metadata={stamp: None} if stamp else None)
    with cannot(f"write {path}"):
        path.write_bytes(out.getvalue())


def check_path(path: Path, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Raise RunError, before any work is done, if a figure, or a file of these kinds, cannot be written to `path`."""
    if path.suffix.lower() not in suffixes:
        *others, last = suffixes
        ends = f"{', '.join(others)} or {last}" if others else last
        raise RunError(f"cannot write {path.name!r}: its name must end in {ends}")
    if not path.parent.is_dir():
        raise RunError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise RunError(f"cannot write {path}: it is a folder")


def compose(rows: Sequence[Sequence[Panel]], view: FigureView = EVERYTHING) -> "Figure":
    """The figure: each row of panels, made higher by the legends below it."""
    from matplotlib.figure import Figure

    columns = max(len(panels) for panels in rows)
    width = COLUMN if columns == 1 else PAGE
    legends = [_legends(panels, width, columns) for panels in rows]
    heights = [HEIGHT + max(legend.height for legend in row) for row in legends]
    figure = Figure(figsize=(width, sum(heights)))
    cell_width, top = 1 / columns, 1.0
    for height, row in zip(heights, legends, strict=True):
        floor = top - HEIGHT / sum(heights)
        drawn: list[Axes] = []
        for legend in row:
            left = len(drawn) * cell_width
            places = [
                (left + number * cell_width, floor, cell_width, top - floor) for number in range(len(legend.panels))
            ]
            drawn += _draw_panels(figure, places, legend, view)
        _fit(figure, drawn, floor, top, cell_width)
        top -= height / sum(heights)
    return figure


def _fit(figure: "Figure", row: Sequence["Axes"], floor: float, top: float, width: float) -> None:
    """Make room for the labels of a row of axes, each in a cell from `floor` to `top`, in fractions of the figure.

    The solver of matplotlib's constrained layout aborts the process where a legend is much higher than its axes.
    """
    to_fractions = figure.transFigure.inverted()
    across, up = (PAD / inches for inches in figure.get_size_inches())
    for _ in range(2):  # the number of ticks, and so the width of their labels, follows the size of the axes
        inner = [axes.get_position() for axes in row]
        outer = [to_fractions.transform_bbox(axes.get_tightbbox(for_layout_only=True) or axes.bbox) for axes in row]
        below = up + max(box.y0 - labels.y0 for box, labels in zip(inner, outer, strict=True))
        above = up + max(labels.y1 - box.y1 for box, labels in zip(inner, outer, strict=True))
        for number, (axes, box, labels) in enumerate(zip(row, inner, outer, strict=True)):
            left, right = across + box.x0 - labels.x0, across + labels.x1 - box.x1
            room = max(width - left - right, width / 3), max(top - floor - below - above, (top - floor) / 3)
            axes.set_position((number * width + left, floor + below, *room))


@dataclass(frozen=True)
class _Legend:
    """A legend below these panels, with a number of columns and a height in inches."""

    panels: Sequence[Panel]
    columns: int
    height: float


def _legends(panels: Sequence[Panel], width: float, columns: int) -> list[_Legend]:
    """One legend for a row if all its panels show the same lines, else one per panel."""
    shown = [[line.label for line in panel.lines] for panel in panels]
    if len(panels) == columns and all(labels == shown[0] for labels in shown):
        return [_legend(panels, shown[0], width)]
    return [_legend([panel], labels, width / columns) for panel, labels in zip(panels, shown, strict=True)]


def _legend(panels: Sequence[Panel], labels: Sequence[str], width: float) -> _Legend:
    lines = [_wrapped(label) for label in labels]
    longest = max((len(line) for label in lines for line in label), default=0)
    columns = max(1, min(len(labels), int(width / (BESIDE + CHARACTER * longest))))
    # Split as matplotlib fills columns.
    parts = np.array_split([len(label) + 0.4 for label in lines], columns)
    return _Legend(panels, columns, LINE * max(float(part.sum()) for part in parts) + 0.2)


def _draw_panels(
    figure: "Figure", places: Sequence[tuple[float, float, float, float]], legend: _Legend, view: FigureView
) -> list["Axes"]:
    """Draw panels side by side in these places, and their legend below."""
    shown = [figure.add_axes(place) for place in places]
    for axes, panel in zip(shown, legend.panels, strict=True):
        _draw_panel(axes, panel)
        if panel.has_margin:
            axes.axhline(0.0, color="black", linewidth=0.6)
            if view.margin is not None:
                axes.axhspan(-panel.scale * view.margin, panel.scale * view.margin, color="#999999", alpha=0.2)
        _limit(axes, panel, view, first=panel is legend.panels[0])
    # Take the entries of the panel with most lines: another may have no points for a line.
    fullest = max(shown, key=lambda axes: len(axes.get_legend_handles_labels()[0]))
    entries = fullest.get_legend_handles_labels()
    figure.legend(*entries, loc="upper left", bbox_to_anchor=places[0][:2], ncols=legend.columns)
    return shown


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, line in enumerate(panel.lines):
        if line.points:
            _draw_line(axes, line, panel, number)
    axes.set_xlabel(panel.xlabel.replace("Timesteps T", "Timesteps $T$"))
    axes.set_ylabel(escaped(panel.ylabel))
    if panel.timesteps:
        ticks = sorted({timesteps for line in panel.lines for timesteps in line.points})
        axes.set_xticks(ticks[:: math.ceil(len(ticks) / MOST_TICKS)] if ticks else [])
        axes.margins(x=0.08, y=0.12)
        highest = max((p.mean + (p.std or 0.0) for line in panel.lines for p in line.points.values()), default=0.0)
        if panel.from_zero and highest > 0:
            axes.set_ylim(0, 1.1 * panel.scale * highest)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.margins(x=0.02)


def _limit(axes: "Axes", panel: Panel, view: FigureView, *, first: bool) -> None:
    accuracy = panel.scale == 100.0
    if view.log_y and not accuracy:
        axes.set_yscale("log")
        if panel.from_zero:
            axes.autoscale(axis="y")
    axes.set_xlim(view.x_min, view.x_max)
    if first or accuracy:
        if axes.get_yscale() == "log" and any(limit is not None and limit <= 0 for limit in (view.y_min, view.y_max)):
            raise RunError("a log axis has no values of 0 or less: give limits of y above 0, or leave out --log-y")
        axes.set_ylim(view.y_min, view.y_max)
    if accuracy and view.y_max is None:  # what is more than all would look like an accuracy
        axes.set_ylim(top=min(axes.get_ylim()[1], 100.5))
    if any(low >= high for low, high in (axes.get_xlim(), axes.get_ylim())):
        raise RunError("these limits leave nothing to show: all values lie beyond them")


def _draw_line(axes: "Axes", line: PanelLine, panel: Panel, number: int) -> None:
    """Draw a line with its spread: bars at a few timesteps and at a single epoch, else a band."""
    points = list(line.points.values())
    x, y = list(line.points), [panel.scale * point.mean for point in points]
    few = panel.timesteps or len(x) == 1  # a single epoch gives neither a line nor a band
    # Of curves with one colour all but the first have markers.
    marked = few or line.number
    # Markers of different curves are not at the same epochs. Lines lie over all bands, and show what they cross.
    every = 1 if panel.timesteps else max(1, len(x) // MARKED)
    axes.plot(
        x,
        y,
        label=_label(line.label),
        color=line.colour,
        linestyle=DASHES[line.number % len(DASHES)],
        marker=MARKERS[((*COLOURS, line.colour).index(line.colour) + line.number) % len(MARKERS)] if marked else "",
        markevery=(number % every, every),
        alpha=OPACITY,
        zorder=3,
    )
    if line.dots:
        axes.scatter(x * len(line.dots), np.multiply(panel.scale, line.dots), s=3, color="black", zorder=4)
    deviations = [panel.scale * (point.std or 0.0) for point in points]
    if not any(deviations):
        return
    if few:
        bars = [one or math.nan for one in deviations]  # a single run has no deviation; no bar is drawn for NaN
        axes.errorbar(x, y, bars, fmt="none", ecolor=line.colour, capsize=2, elinewidth=0.8, alpha=OPACITY)
    else:
        low, high = np.subtract(y, deviations), np.add(y, deviations)
        axes.fill_between(x, low, high, color=line.colour, alpha=0.15, linewidth=0, zorder=2)


def _label(text: str) -> str:
    """A label, wrapped, with the index of rate_M as a subscript."""
    lines = escaped("\n".join(_wrapped(text)))
    for name in TRAINING_METHODS.values():
        base, index, mode = name.partition("_")
        if index and (lines == name or lines.startswith(f"{name},")):
            return f"{base}$_\\mathrm{{{mode}}}${lines.removeprefix(name)}"
    return lines


def _wrapped(text: str) -> list[str]:
    """The text wrapped into lines, broken inside a setting only if that is too long."""
    return textwrap.wrap(text.replace(" = ", "\u00a0=\u00a0"), WRAP)


def escaped(text: str) -> str:
    """The text, drawn as it stands."""
    # Two dollar signs would make a formula, and an invalid formula would make drawing fail.
    return text.replace("$", r"\$")
