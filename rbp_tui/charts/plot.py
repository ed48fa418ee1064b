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


@dataclass(frozen=True)
class Glyphs:
    """The characters of a chart, and how many dots a cell has."""

    series: str  # one for each curve in turn; empty for braille
    keys: str  # precede a label of the legend, by stroke; empty for the series' own character
    star: str
    point: str
    above: str  # values above the plot, and below it
    below: str
    cursor: str
    tick: str
    axis: str
    grid: str
    mark: str
    faint: str  # for values behind a line and bands; empty for braille
    dash: str
    ellipsis: str
    cell: tuple[int, int]  # dots per cell: rows, columns

    def key_of(self, index: int, stroke: int) -> str:
        """The mark of a curve in the legend."""
        return self.keys[stroke] if self.keys else self.series[index % len(self.series)]


UNICODE = Glyphs("", "●╍┉", "★", "●", "▲", "▼", "│", "┤", "│", "┈", "┊", "", "–", "…", (BRAILLE_ROWS, BRAILLE_COLUMNS))
ASCII = Glyphs("ox+#%&=@", "", "*", "O", "^", "v", "|", "+", "|", " ", ":", ".", "-", "..", (1, 1))


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
    glyphs: Glyphs

    @property
    def height(self) -> int:
        """In dots."""
        return self.rows * self.glyphs.cell[0]

    @property
    def width(self) -> int:
        """In dots."""
        return self.columns * self.glyphs.cell[1]

    @property
    def is_braille(self) -> bool:
        return not self.glyphs.series

    def row(self, value: float) -> int | None:
        """The row of a value, from the top; None outside."""
        row = self.y.cell(value, self.rows, self.glyphs.cell[0])
        return None if row is None else self.rows - 1 - row

    def column(self, x: float) -> int | None:
        """The column of an x; None outside."""
        return self.x.cell(x, self.columns, self.glyphs.cell[1])

    def patterns(self, dots: Mask) -> NDArray[np.uint8]:
        """The pattern of each cell, 0 where nothing is lit."""
        return braille(dots) if self.is_braille else dots.view(np.uint8)


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
    _put_layer(cells, canvas, [(number, _behind(curves[number], canvas)) for number in drawn], faint=True)
    _put_layer(
        cells, canvas, [(number, _line(curves[number], strokes[number], canvas)) for number in drawn], faint=False
    )
    _put_signs(cells, canvas, curves, strokes, order, cursor)
    return cells


def _draw_grid(cells: Cells, canvas: Canvas, ticks: Sequence[float], marks: Sequence[XMark]) -> None:
    for value in ticks:
        row = canvas.row(value)
        if row is not None:
            cells.glyphs[row, ::_GRID_EVERY] = ord(canvas.glyphs.grid)
            cells.owners[row, ::_GRID_EVERY] = GRID
    for mark in marks:
        column = canvas.column(mark.x)
        if column is not None:
            cells.glyphs[:, column] = ord(canvas.glyphs.mark)
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
    """What lies behind the line: its values or its band, every second dot in braille, so that it is pale."""
    if curve.raw is not None:
        dots = line_dots(_covered(curve, curve.raw, canvas), canvas.y, canvas.height)
    elif curve.band is not None:
        low, high = (_covered(curve, edge, canvas) for edge in curve.band)
        dots = band_dots(low.low, high.high, canvas.y, canvas.height)
    else:
        return None
    if canvas.is_braille:
        dots[::2, 1::2] = dots[1::2, ::2] = False
    return dots


def _put_layer(cells: Cells, canvas: Canvas, layer: Sequence[tuple[int, Mask | None]], *, faint: bool) -> None:
    """Put the dots of curves over what is there, those of the last curve in front."""
    shown = [(number, canvas.patterns(dots)) for number, dots in layer if dots is not None]
    if not shown:
        return
    numbers = np.array([number for number, _ in shown], dtype=np.int16)
    patterns = np.stack([patterns for _, patterns in shown])
    union = np.bitwise_or.reduce(patterns, axis=0)
    lit = union > 0
    owners = numbers[_whose_turn(patterns > 0)][lit]
    if canvas.is_braille:
        cells.glyphs[lit] = union[lit].astype(np.uint32) + _BRAILLE
    else:
        letters = canvas.glyphs.faint if faint else canvas.glyphs.series
        cells.glyphs[lit] = np.array([ord(letter) for letter in letters], dtype=np.uint32)[owners % len(letters)]
    cells.owners[lit] = owners
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
    glyphs = canvas.glyphs

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
        cells.glyphs[cells.owners[:, column] < 0, column] = ord(glyphs.cursor)
        cells.owners[:, column] = CURSOR
        for number in order:
            index = read(curves[number], cursor, canvas.x, canvas.columns)
            if index is not None:
                put(canvas.row(float(curves[number].line[index])), column, glyphs.point, number)
    for number in order:
        curve = curves[number]
        for index in curve.known if curve.series.points else ():
            sign = glyphs.key_of(number, 0)
            put(canvas.row(float(curve.line[index])), canvas.column(float(curve.x[index])), sign, number)
        if curve.best is not None:
            put(canvas.row(float(curve.y[curve.best])), canvas.column(float(curve.x[curve.best])), glyphs.star, STAR)


def _outside(curve: ChartCurve, canvas: Canvas) -> list[tuple[int, str, list[int]]]:
    """Where values lie above and below the plot: the row, the sign and the columns."""
    view = curve.inside(canvas.x)
    values = (curve.line if curve.raw is None else curve.raw)[view]
    found = []
    for row, sign, outside in (
        (0, canvas.glyphs.above, values > canvas.y.high),
        (canvas.rows - 1, canvas.glyphs.below, values < canvas.y.low),
    ):
        if outside.any():
            positions = canvas.x.positions(curve.x[view][outside])
            dots = np.rint(positions * (canvas.width - 1)).astype(np.int64)
            found.append((row, sign, np.unique(dots // canvas.glyphs.cell[1]).tolist()))
    return found
