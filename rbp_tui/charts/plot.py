"""Turn curves into characters: the glyph of each cell of a plot, and which curve's colour it has."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbp_tui.charts.axis import Axis
from rbp_tui.charts.raster import (
    BRAILLE_COLUMNS,
    BRAILLE_ROWS,
    DOTS_LIT,
    Mask,
    band_dots,
    braille,
    extent,
    extremes,
    line_dots,
    recent_extremes,
    showable,
)
from rbp_tui.charts.series import ChartCurve

# The owners of a cell other than curves, which are numbered from 0.
NOBODY, CURSOR, STAR = -1, -2, -3

_BRAILLE = 0x2800


@dataclass(frozen=True)
class Glyphs:
    """The characters of a chart, and how many dots a cell has."""

    series: str  # one for each curve in turn; empty for braille
    star: str
    point: str
    cursor: str
    tick: str
    axis: str
    key: str  # precedes a label of the legend; empty for the series' own character
    band: str  # for cells that only a band covers; a space if the background shows it
    dash: str
    ellipsis: str
    cell: tuple[int, int]  # dots per cell: rows, columns

    def key_of(self, index: int) -> str:
        """The mark of a curve in the legend."""
        return self.key or self.series[index % len(self.series)]


UNICODE = Glyphs("", "★", "●", "│", "┤", "│", "●", " ", "–", "…", (BRAILLE_ROWS, BRAILLE_COLUMNS))
ASCII = Glyphs("ox+#%&=@", "*", "O", "|", "+", "|", "", ".", "-", "..", (1, 1))


@dataclass(frozen=True)
class Cells:
    """A plot [rows, columns]: code points, the owner of each glyph, and the curve whose band lies behind it."""

    glyphs: NDArray[np.uint32]
    owners: NDArray[np.int16]
    bands: NDArray[np.int16]


def y_extent(curves: Sequence[ChartCurve], x_axis: Axis, *, log: bool) -> tuple[float, float] | None:
    """The lowest and highest value in the view, bands included; None if it is empty."""
    found = []
    for curve in curves:
        spans = [(values, x_axis) for values in (curve.line, *(curve.band or ()))]
        if curve.look_back:
            spans.append((curve.y, Axis.spanning(x_axis.low - curve.look_back, x_axis.high)))
        for values, span in spans:
            ends = extent(curve.x, showable(values, log=log), span, log=log)
            if ends is not None:
                found.append(ends)
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def read(curve: ChartCurve, x: float, x_axis: Axis, columns: int) -> int | None:
    """Index of the point that a cursor at `x` reads; None more than a cell beyond the curve's ends."""
    span, index = curve.span(log=x_axis.log), curve.nearest(x)
    if span is None or index is None:
        return None
    start, end = x_axis.position(span[0]), x_axis.position(span[1])
    return index if start - 1 / columns <= x_axis.position(x) <= end + 1 / columns else None


def plot(
    curves: Sequence[ChartCurve],
    x_axis: Axis,
    y_axis: Axis,
    rows: int,
    columns: int,
    glyphs: Glyphs,
    cursor: float | None,
) -> Cells:
    """Draw the curves, later ones over earlier ones; then the cursor, the points it reads, and the best values."""
    height, width = glyphs.cell
    ascii_dots = bool(glyphs.series)  # one dot a cell, shown as the curve's letter
    codes = np.zeros((rows, columns), dtype=np.uint8)
    letters = np.full((rows, columns), ord(" "), dtype=np.uint32)
    owners = np.full((rows, columns), NOBODY, dtype=np.int16)
    bands = np.full((rows, columns), NOBODY, dtype=np.int16)
    for number, curve in enumerate(curves):
        lines, behind = _dots(curve, x_axis, y_axis, rows * height, columns * width)
        if behind is not None:
            # Half of a cell must be covered; a narrower band would hide behind its own line.
            bands[behind if ascii_dots else DOTS_LIT[braille(behind)] >= height * width / 2] = number
        patterns = lines.view(np.uint8) if ascii_dots else braille(lines)
        lit = patterns > 0
        owners[lit] = number
        if ascii_dots:
            letters[lit] = ord(glyphs.series[number % len(glyphs.series)])
        else:
            codes |= patterns
    column = None if cursor is None else x_axis.cell(cursor, columns, width)
    if column is not None:
        letters[owners[:, column] == NOBODY, column] = ord(glyphs.cursor)
        owners[:, column] = CURSOR
    if not ascii_dots:
        lit = codes > 0
        letters[lit] = codes[lit].astype(np.uint32) + _BRAILLE
    if glyphs.band != " ":
        letters[(bands != NOBODY) & (owners == NOBODY)] = ord(glyphs.band)
        owners = np.where((bands != NOBODY) & (owners == NOBODY), bands, owners).astype(np.int16)

    def put(curve: ChartCurve, index: int, values: NDArray[np.float64], glyph: str, owner: int) -> None:
        column = x_axis.cell(float(curve.x[index]), columns, width)
        row = y_axis.cell(float(values[index]), rows, height)
        if row is not None and column is not None:
            letters[rows - 1 - row, column] = ord(glyph)
            owners[rows - 1 - row, column] = owner

    if cursor is not None and column is not None:
        for number, curve in enumerate(curves):
            index = read(curve, cursor, x_axis, columns)
            if index is not None:
                put(curve, index, curve.line, glyphs.point, number)
    for number, curve in enumerate(curves):
        if curve.series.points:
            for index in curve.known:
                put(curve, int(index), curve.line, glyphs.key_of(number), number)
        if curve.best is not None:
            put(curve, curve.best, curve.y, glyphs.star, STAR)
    return Cells(letters, owners, bands)


def _dots(curve: ChartCurve, x_axis: Axis, y_axis: Axis, rows: int, columns: int) -> tuple[Mask, Mask | None]:
    if curve.series.points:
        return np.zeros((rows, columns), dtype=np.bool_), None
    log = y_axis.log
    covered = extremes(curve.x, showable(curve.line, log=log), x_axis, columns, log=log)
    line = line_dots(covered, y_axis, rows)
    if curve.band is not None:
        edges = [extremes(curve.x, showable(edge, log=log), x_axis, columns, log=log) for edge in curve.band]
        return line, band_dots(edges[0].low, edges[1].high, y_axis, rows)
    if curve.look_back:
        recent = recent_extremes(curve.x, curve.y, curve.look_back, x_axis, columns)
        # Like the line, the band does not extend into gaps.
        low, high = (np.where(np.isnan(covered.low), np.nan, showable(edge, log=log)) for edge in recent)
        return line, band_dots(low, high, y_axis, rows)
    return line, None
