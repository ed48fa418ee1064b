"""A chart as rows of styled text."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from rich.segment import Segment
from rich.style import Style

from rbp_tui.charts.axis import Axis
from rbp_tui.charts.legend import LegendEntry, legend_row
from rbp_tui.charts.look import Look
from rbp_tui.charts.model import ChartModel
from rbp_tui.charts.plot import (
    AXIS,
    CURSOR,
    GRID,
    KEYS,
    MARK,
    NOBODY,
    POINT,
    STAR,
    STAR_SIGN,
    TICK,
    Canvas,
    Cells,
    plot,
    read,
)
from rbp_tui.charts.raster import BRAILLE_COLUMNS, BRAILLE_ROWS
from rbp_tui.charts.series import ChartCurve, XMark
from rbp_tui.charts.ticks import XUnit, place, short, tick_labels, ticks

Row: TypeAlias = list[Segment]

# Narrower or lower charts have no labels.
_LABELLED_WIDTH, _LABELLED_HEIGHT = 16, 4
_ROOMY_WIDTH = 36  # from this width on, the plots of stacked charts are aligned
_ROOMY_LABEL = 5


@dataclass(frozen=True)
class Options:
    """The texts of a chart, and their formats."""

    title: str
    x_unit: XUnit
    smoothing: float


@dataclass(frozen=True)
class ChartLayout:
    """How a chart divides its cells. The title takes the first row."""

    width: int
    rows: int  # of the plot
    columns: int  # of the plot
    gutter: int  # cells left of it: the labels, and the axis in the last one
    x_labels: bool
    y_labels: dict[int, str]  # by row of the plot
    y_ticks: tuple[float, ...]


def draw(model: ChartModel, options: Options, look: Look, width: int, height: int) -> tuple[ChartLayout, list[Row]]:
    """All rows of a chart of `width` × `height` cells, and its layout."""
    x_axis = model.x_axis()
    shown = model.y_range(x_axis) if x_axis else None
    y_axis = Axis.spanning(shown.low, shown.high, log=model.y_log) if shown else None
    layout = arrange(width, height, y_axis)
    flags = _flags(model, options, clipped=shown is not None and shown.clipped)
    rows = [_title_row(model, options, look, x_axis, layout, flags)]
    if x_axis is None or y_axis is None:
        return layout, rows + _message_rows(_why_empty(model), layout, look)
    if layout.rows and layout.columns > 1:
        canvas = Canvas(x_axis, y_axis, layout.rows, layout.columns)
        cells = plot(model.curves, look.strokes, canvas, layout.y_ticks, model.marks, model.cursor)
        rows += _plot_rows(cells, layout, look)
    if layout.x_labels:
        rows.append(_x_label_row(x_axis, options.x_unit, model.marks, layout, look))
    return layout, rows


def _why_empty(model: ChartModel) -> str:
    if not any(len(curve.known) for curve in model.curves):
        return "no data"
    return "no values here" if model.view else "nothing above 0 to show on a log axis"


def _title_row(
    model: ChartModel,
    options: Options,
    look: Look,
    x_axis: Axis | None,
    layout: ChartLayout,
    flags: str,
) -> Row:
    cursor = "" if model.cursor is None or x_axis is None else f"@{place(model.cursor, options.x_unit)}"
    entries = []
    for number, curve in enumerate(model.curves):
        alone, points = len(model.curves) == 1, curve.series.points
        index = curve.known[-1] if len(curve.known) else None
        if model.cursor is not None and x_axis is not None:
            index = read(curve, model.cursor, x_axis, layout.columns)
        value = "–" if index is None else _value(float(curve.line[index]), options)
        entries.append(
            LegendEntry(
                key="" if alone else POINT if points else KEYS[look.strokes[number]],
                label="" if alone else curve.series.label,
                value="" if points and not cursor else value,  # none of the points is the newest
                best=_best(curve, options),
                style=look.curves[number],
            )
        )
    row = legend_row(layout.width, options.title, cursor, entries, flags, look)
    missing = layout.width - sum(segment.cell_length for segment in row)
    return [*row, Segment(" " * missing, look.base)] if missing > 0 else row


def _value(value: float, options: Options) -> str:
    # A smoothed value is not the value itself.
    return ("~" if options.smoothing else "") + short(value)


def _best(curve: ChartCurve, options: Options) -> str:
    if curve.best is None:
        return ""
    where = place(float(curve.x[curve.best]), options.x_unit)
    return f"{STAR_SIGN}{short(float(curve.y[curve.best]))}@{where}"


def _flags(model: ChartModel, options: Options, *, clipped: bool) -> str:
    scales = " ".join(name for name, log in (("x", model.x_log), ("y", model.y_log)) if log)
    flags = (
        (f"log {scales}", bool(scales)),
        ("zoomed", model.view is not None),
        ("clipped", clipped),
        (f"~{options.smoothing:g}", options.smoothing > 0),
    )
    return "  ".join(text for text, on in flags if on)


def arrange(width: int, height: int, y_axis: Axis | None) -> ChartLayout:
    """Divide `width` × `height` cells; without an axis, or in a narrow chart, labels get no room."""
    x_labels = height >= _LABELLED_HEIGHT
    rows = max(0, height - 1 - x_labels)
    if y_axis is None or width < _LABELLED_WIDTH or not rows:
        return ChartLayout(width, rows, width, 0, x_labels, {}, ())
    values = ticks(y_axis, min(8, max(2, rows // 4 + 1)))
    labels: dict[int, str] = {}
    for value, label in zip(values, tick_labels(values, y_axis), strict=True):
        row = y_axis.cell(value, rows, BRAILLE_ROWS)
        if row is not None:
            labels.setdefault(rows - 1 - row, label)
    gutter = 1 + max([len(label) for label in labels.values()] + [_ROOMY_LABEL] * (width >= _ROOMY_WIDTH))
    if gutter > width // 2:
        return ChartLayout(width, rows, width, 0, x_labels, {}, ())
    return ChartLayout(width, rows, width - gutter, gutter, x_labels, labels, tuple(values))


def _plot_rows(cells: Cells, layout: ChartLayout, look: Look) -> list[Row]:
    """The rows of the plot with the y axis."""
    fixed = {NOBODY: look.base, CURSOR: look.cursor, STAR: look.star, GRID: look.grid, MARK: look.mark}

    def style(owner: int, faint: bool) -> Style:
        return fixed[owner] if owner < 0 else (look.dims if faint else look.curves)[owner]

    rows = []
    # A new segment starts where the style changes.
    changes = (np.diff(cells.owners, axis=1) != 0) | np.diff(cells.faint, axis=1)
    for row in range(layout.rows):
        text = cells.glyphs[row].astype("<u4").tobytes().decode("utf-32-le")
        bounds = [0, *(np.flatnonzero(changes[row]) + 1).tolist(), layout.columns]
        owners, faint = cells.owners[row].tolist(), cells.faint[row].tolist()
        segments = _axis_segments(row, layout, look)
        segments += [Segment(text[a:b], style(owners[a], faint[a])) for a, b in pairwise(bounds)]
        rows.append(segments)
    return rows


def _axis_segments(row: int, layout: ChartLayout, look: Look) -> list[Segment]:
    if not layout.gutter:
        return []
    label = layout.y_labels.get(row)
    sign = AXIS if label is None else TICK
    return [Segment((label or "").rjust(layout.gutter - 1), look.label), Segment(sign, look.axis)]


def _x_label_row(x_axis: Axis, unit: XUnit, marks: Sequence[XMark], layout: ChartLayout, look: Look) -> Row:
    """The last row: the unit under the y labels if it fits, the words of marks, and ticks where these leave room."""
    row = [" "] * layout.width
    if layout.gutter > len(unit):
        row[layout.gutter - 1 - len(unit) : layout.gutter - 1] = unit
    values = ticks(x_axis, min(12, max(2, layout.columns // 8)), unit)
    places = [*((mark.x, mark.text) for mark in marks), *zip(values, tick_labels(values, x_axis, unit), strict=True)]
    for value, label in places:
        column = x_axis.cell(value, layout.columns, BRAILLE_COLUMNS)
        if column is None:
            continue
        start = layout.gutter + column - (len(label) - 1) // 2
        start = max(layout.gutter, min(start, layout.width - len(label)))
        end = start + len(label)
        # Two blanks between labels, but none are needed at the edges.
        if start >= layout.gutter and not "".join(row[max(layout.gutter, start - 2) : end + 2]).strip():
            row[start:end] = label
    return [Segment("".join(row), look.label)]


def _message_rows(text: str, layout: ChartLayout, look: Look) -> list[Row]:
    """The rows of an empty plot with a sentence in the middle."""
    rows = [[Segment(" " * layout.width, look.base)]] * layout.rows
    if rows:
        line = text[: layout.width].center(layout.width)
        rows[(layout.rows - 1) // 2] = [Segment(line, look.label)]
    return rows
