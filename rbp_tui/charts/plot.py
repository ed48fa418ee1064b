"""Turn curves into characters: the glyph of each cell of a plot, and whose colour it has.

A cell has one colour and eight dots. From the back to the front lie the grid, marks on the x axis, the single values
behind smoothed lines and bands, the lines, and the signs. A layer shows only in the cells that no later one is in,
except that lines which share a cell all show their dots, and take turns with its colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbp_tui.charts.axis import Axis
from rbp_tui.charts.palette import STROKES
from rbp_tui.charts.raster import (
    BRAILLE_COLUMNS,
    BRAILLE_ROWS,
    Columns,
    Floats,
    Mask,
    band_dots,
    braille,
    extremes,
    line_dots,
)
from rbp_tui.charts.series import ChartCurve, XMark

# The owners of a cell other than curves, which are numbered from 0.
NOBODY, CURSOR, STAR, GRID, MARK = -1, -2, -3, -4, -5

_BRAILLE = 0x2800
_GRID_EVERY = 2  # cells


# The characters of a chart: what precedes a label of the legend, by stroke, then the signs.
KEYS = "●╍┉"
STAR_SIGN, POINT, ABOVE, BELOW, CURSOR_LINE, TICK, AXIS, GRID_LINE, MARK_LINE = "★●▲▼│┤│┈┊"


@dataclass(frozen=True)
class Cells:
    """A plot [rows, columns]: code points, the owner of each, and whether it is in the owner's fainter colour."""

    glyphs: NDArray[np.uint32]
    owners: NDArray[np.int16]
    faint: Mask


@dataclass(frozen=True)
class Canvas:
    """The axes of a plot, its size in cells, and its characters."""

    x: Axis
    y: Axis
    rows: int
    columns: int

    @property
    def height(self) -> int:
        """In dots."""
        return self.rows * BRAILLE_ROWS

    @property
    def width(self) -> int:
        """In dots."""
        return self.columns * BRAILLE_COLUMNS

    def row(self, value: float) -> int | None:
        """The row of a value, from the top; None outside."""
        row = self.y.cell(value, self.rows, BRAILLE_ROWS)
        return None if row is None else self.rows - 1 - row

    def column(self, x: float) -> int | None:
        """The column of an x; None outside."""
        return self.x.cell(x, self.columns, BRAILLE_COLUMNS)


def read(curve: ChartCurve, x: float, x_axis: Axis, columns: int) -> int | None:
    """Index of the point that a cursor at `x` reads; None more than a cell beyond the curve's ends."""
    span, index = curve.span(log=x_axis.log), curve.nearest(x)
    if span is None or index is None:
        return None
    start, end = x_axis.position(span[0]), x_axis.position(span[1])
    cell = 1 / max(1, columns)  # a chart may be too narrow for a plot, and still have its title
    return index if start - cell <= x_axis.position(x) <= end + cell else None


def plot(
    curves: Sequence[ChartCurve],
    strokes: Sequence[int],
    canvas: Canvas,
    ticks: Sequence[float] = (),
    marks: Sequence[XMark] = (),
    cursor: float | None = None,
) -> Cells:
    """Draw the curves, each with its stroke, over a grid at the y `ticks` and the marks; then the cursor and signs."""
    size = (canvas.rows, canvas.columns)
    cells = Cells(np.full(size, ord(" "), np.uint32), np.full(size, NOBODY, np.int16), np.zeros(size, np.bool_))
    _draw_grid(cells, canvas, ticks, marks)
    order = sorted(range(len(curves)), key=lambda number: curves[number].series.emphasis)
    drawn = [number for number in order if not curves[number].series.points]
    _put_layer(cells, [(number, _behind(curves[number], canvas)) for number in drawn], faint=True)
    _put_layer(cells, [(number, _line(curves[number], strokes[number], canvas)) for number in drawn], faint=False)
    _put_signs(cells, canvas, curves, strokes, order, cursor)
    return cells


def _draw_grid(cells: Cells, canvas: Canvas, ticks: Sequence[float], marks: Sequence[XMark]) -> None:
    for value in ticks:
        row = canvas.row(value)
        if row is not None:
            cells.glyphs[row, ::_GRID_EVERY] = ord(GRID_LINE)
            cells.owners[row, ::_GRID_EVERY] = GRID
    for mark in marks:
        column = canvas.column(mark.x)
        if column is not None:
            cells.glyphs[:, column] = ord(MARK_LINE)
            cells.owners[:, column] = MARK


def _covered(curve: ChartCurve, values: Floats, canvas: Canvas) -> Columns:
    return extremes(curve.x, values, canvas.x, canvas.width, log=canvas.y.log)


def _line(curve: ChartCurve, stroke: int, canvas: Canvas) -> Mask:
    line = line_dots(_covered(curve, curve.line, canvas), canvas.y, canvas.height)
    on, off = STROKES[stroke]
    if off:
        line &= np.arange(canvas.width) % (on + off) < on
    return line


def _behind(curve: ChartCurve, canvas: Canvas) -> Mask | None:
    """What lies behind the line: its values or its band, every second dot, so that it is pale."""
    if curve.raw is not None:
        dots = line_dots(_covered(curve, curve.raw, canvas), canvas.y, canvas.height)
    elif curve.band is not None:
        low, high = (_covered(curve, edge, canvas) for edge in curve.band)
        dots = band_dots(low.low, high.high, canvas.y, canvas.height)
    else:
        return None
    dots[::2, 1::2] = dots[1::2, ::2] = False
    return dots


def _put_layer(cells: Cells, layer: Sequence[tuple[int, Mask | None]], *, faint: bool) -> None:
    """Put the dots of curves over what is there, those of the last curve in front."""
    shown = [(number, braille(dots)) for number, dots in layer if dots is not None]
    if not shown:
        return
    numbers = np.array([number for number, _ in shown], dtype=np.int16)
    patterns = np.stack([patterns for _, patterns in shown])
    union = np.bitwise_or.reduce(patterns, axis=0)
    lit = union > 0
    cells.glyphs[lit] = union[lit].astype(np.uint32) + _BRAILLE
    cells.owners[lit] = numbers[_whose_turn(patterns > 0)][lit]
    cells.faint[lit] = faint


def _whose_turn(lit: Mask) -> NDArray[np.int64]:
    """Which curve has the colour of each cell, of those that are lit there [curves, rows, columns].

    Cells alternate as on a chessboard. The curve in front has every second turn, so that it can be followed; the
    others go round.
    """
    chosen: NDArray[np.int64] = lit.argmax(axis=0)
    shared = np.count_nonzero(lit, axis=0) > 1
    if shared.any():
        rows, columns = np.nonzero(shared)
        turn = rows + columns
        others, front = lit[:-1, shared], lit[-1, shared]
        rank = others.cumsum(axis=0, dtype=np.int16) - 1
        theirs = (others & (rank == turn // 2 % np.count_nonzero(others, axis=0))).argmax(axis=0)
        chosen[shared] = np.where(front & (turn % 2 == 0), len(others), theirs)
    return chosen


def _put_signs(
    cells: Cells,
    canvas: Canvas,
    curves: Sequence[ChartCurve],
    strokes: Sequence[int],
    order: Sequence[int],
    cursor: float | None,
) -> None:
    """Put the values outside, the cursor, the points it reads, and the best values."""

    def put(row: int | None, column: int | None, glyph: str, owner: int) -> None:
        if row is not None and column is not None:
            cells.glyphs[row, column], cells.owners[row, column] = ord(glyph), owner
            cells.faint[row, column] = False

    for number in order:
        for row, sign, places in _outside(curves[number], canvas):
            for place in places:
                put(row, place, sign, number)
    column = None if cursor is None else canvas.column(cursor)
    if cursor is not None and column is not None:
        cells.glyphs[cells.owners[:, column] < 0, column] = ord(CURSOR_LINE)
        cells.owners[:, column] = CURSOR
        for number in order:
            index = read(curves[number], cursor, canvas.x, canvas.columns)
            if index is not None:
                put(canvas.row(float(curves[number].line[index])), column, POINT, number)
    for number in order:
        curve = curves[number]
        for index in curve.known if curve.series.points else ():
            put(canvas.row(float(curve.line[index])), canvas.column(float(curve.x[index])), POINT, number)
        if curve.best is not None:
            put(canvas.row(float(curve.y[curve.best])), canvas.column(float(curve.x[curve.best])), STAR_SIGN, STAR)


def _outside(curve: ChartCurve, canvas: Canvas) -> list[tuple[int, str, list[int]]]:
    """Where values lie above and below the plot: the row, the sign and the columns."""
    view = curve.inside(canvas.x)
    values = (curve.line if curve.raw is None else curve.raw)[view]
    found = []
    for row, sign, outside in (
        (0, ABOVE, values > canvas.y.high),
        (canvas.rows - 1, BELOW, values < canvas.y.low),
    ):
        if outside.any():
            positions = canvas.x.positions(curve.x[view][outside])
            dots = np.rint(positions * (canvas.width - 1)).astype(np.int64)
            found.append((row, sign, np.unique(dots // BRAILLE_COLUMNS).tolist()))
    return found
