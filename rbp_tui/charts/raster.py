"""Turn curves into dots: the extremes of each dot column, joined to those of the next.

A column shows the whole range of the values in it, so no spike is lost however many points share it. Only the few
extremes are transformed, so a log axis costs nothing and a million points take two passes over memory.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbp_tui.charts.axis import Axis

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Dots of a braille character, by row and column, as bits of its code point.
BRAILLE_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint8)
BRAILLE_ROWS, BRAILLE_COLUMNS = 4, 2

_FAR = 1e6  # dot rows; beyond any screen, and still an exact integer


@dataclass(frozen=True)
class Columns:
    """The range that a curve covers in each dot column, in its own values; NaN where it has none."""

    low: Floats
    high: Floats
    linked: Mask  # [columns - 1]: the curve continues from this column into the next


def showable(values: Floats, *, log: bool) -> Floats:
    """The values, with NaN for those that the axis cannot show."""
    if not log or not len(values) or 0.0 < values.min() <= values.max() < np.inf:
        return values
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _along(x: Floats, y: Floats, at: Floats, x_axis: Axis, *, log: bool) -> Floats:
    """The curve's value at `at`, on the straight line that is drawn; NaN in gaps and beyond the ends."""
    after = np.searchsorted(x, at, side="left").clip(1, len(x) - 1)
    start, end = x_axis.positions(x[after - 1]), x_axis.positions(x[after])
    first, last = y[after - 1], y[after]
    here = x_axis.positions(at)
    with np.errstate(all="ignore"):
        share = np.where(end > start, (here - start) / (end - start), 0.0)
        inside = np.isfinite(share) & (share >= 0.0) & (share <= 1.0)
        values = np.exp(np.log(first) * (1 - share) + np.log(last) * share) if log else first + (last - first) * share
    # Rounding must not move a value past the two points around it.
    values = np.clip(values, np.minimum(first, last), np.maximum(first, last))
    return np.where(inside & np.isfinite(values), values, np.nan)


def extremes(x: Floats, y: Floats, x_axis: Axis, columns: int, *, log: bool = False) -> Columns:
    """The lowest and highest value in each of `columns` columns.

    `x` is finite and ascending; `y` is as `showable` leaves it. `log` says that y is drawn on a log axis.
    """
    low = np.full(columns, np.nan)
    high = np.full(columns, np.nan)
    linked = np.zeros(columns - 1, dtype=np.bool_)
    if not len(x):
        return Columns(low, high, linked)
    edges = x_axis.values((np.arange(1, columns) - 0.5) / (columns - 1))
    first = np.searchsorted(x, x_axis.low, side="left")
    stop = np.searchsorted(x, x_axis.high, side="right")
    bounds = np.concatenate(([first], np.searchsorted(x, edges, side="left").clip(first, stop), [stop]))
    filled = bounds[1:] > bounds[:-1]
    if filled.any():
        low[filled] = np.fmin.reduceat(y[:stop], bounds[:-1][filled])
        high[filled] = np.fmax.reduceat(y[:stop], bounds[:-1][filled])
    if len(x) > 1:
        middles = _along(x, y, x_axis.values(np.arange(columns) / (columns - 1)), x_axis, log=log)
        low, high = np.fmin(low, middles), np.fmax(high, middles)
        linked = np.isfinite(_along(x, y, edges, x_axis, log=log))
    return Columns(low, high, linked)


def extent(x: Floats, y: Floats, x_axis: Axis, *, log: bool = False) -> tuple[float, float] | None:
    """The lowest and highest value of the curve between the ends of `x_axis`; None if it has none there."""
    if not len(x):
        return None
    inside = y[np.searchsorted(x, x_axis.low, side="left") : np.searchsorted(x, x_axis.high, side="right")]
    ends = _along(x, y, np.array([x_axis.low, x_axis.high]), x_axis, log=log) if len(x) > 1 else np.array([np.nan])
    (low, high), (lowest, highest) = _ends(inside), _ends(ends)
    low, high = min(low, lowest), max(high, highest)
    return (low, high) if low <= high else None


def _ends(values: Floats) -> tuple[float, float]:
    """The lowest and the highest finite value; infinity and its opposite if there is none."""
    low = np.fmin.reduce(values, initial=np.inf)
    high = np.fmax.reduce(values, initial=-np.inf)
    if np.isinf(low) or np.isinf(high):
        values = values[np.isfinite(values)]
        low, high = np.fmin.reduce(values, initial=np.inf), np.fmax.reduce(values, initial=-np.inf)
    return float(low), float(high)


def _dot_rows(values: Floats, y_axis: Axis, rows: int) -> NDArray[np.int64]:
    """Dot rows from the top, also outside the plot for values outside. NaN gives row 0, which the caller masks."""
    places = (1.0 - y_axis.positions(values)) * (rows - 1)
    rows_down: NDArray[np.int64] = np.rint(np.nan_to_num(places, nan=0.0).clip(-_FAR, _FAR)).astype(np.int64)
    return rows_down


def line_dots(columns: Columns, y_axis: Axis, rows: int) -> Mask:
    """Dots [rows, columns] of a curve: each column filled between its extremes, and joined to those it continues in."""
    present = np.isfinite(columns.low)
    top, bottom = _dot_rows(columns.high, y_axis, rows), _dot_rows(columns.low, y_axis, rows)
    joined = columns.linked & present[:-1] & present[1:]
    # A gap between neighbours is closed half way from each side, so that a slope is one dot thick.
    falls = joined & (top[1:] > bottom[:-1] + 1)
    climbs = joined & (top[:-1] > bottom[1:] + 1)
    down, up = (bottom[:-1] + top[1:]) // 2, (bottom[1:] + top[:-1]) // 2
    new_top, new_bottom = top.copy(), bottom.copy()
    new_bottom[:-1] = np.where(falls, down, new_bottom[:-1])
    new_top[1:] = np.where(falls, np.minimum(new_top[1:], down + 1), new_top[1:])
    new_bottom[1:] = np.where(climbs, np.maximum(new_bottom[1:], up), new_bottom[1:])
    new_top[:-1] = np.where(climbs, np.minimum(new_top[:-1], up + 1), new_top[:-1])
    return _filled(new_top, new_bottom, present, rows)


def band_dots(low: Floats, high: Floats, y_axis: Axis, rows: int) -> Mask:
    """Dots [rows, columns] between two edges. A lower edge that a log axis cannot show is below the axis."""
    present = np.isfinite(high)
    floor = np.where(np.isfinite(low), low, y_axis.low)
    return _filled(_dot_rows(high, y_axis, rows), _dot_rows(floor, y_axis, rows), present, rows)


def _filled(top: NDArray[np.int64], bottom: NDArray[np.int64], present: Mask, rows: int) -> Mask:
    row = np.arange(rows)[:, None]
    return (row >= top) & (row <= bottom) & present


def braille(dots: Mask) -> NDArray[np.uint8]:
    """The braille pattern of each cell, 0 where no dot is lit."""
    patterns = np.zeros((dots.shape[0] // BRAILLE_ROWS, dots.shape[1] // BRAILLE_COLUMNS), dtype=np.uint8)
    for (row, column), bit in np.ndenumerate(BRAILLE_BITS):
        patterns |= dots[row::BRAILLE_ROWS, column::BRAILLE_COLUMNS] * bit
    return patterns
