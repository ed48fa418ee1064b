"""Which values a chart shows: all of them, or all but the few that would flatten the rest.

The few are those farthest from the median: the first epoch, a step that compiles, a spike. They are at most a tenth of
a curve's points (one, of 4 to 19), never its last or best value, and are left out only if the rest needs no more than
half of the height. Those that are not far from the rest stay. The rule holds for any part of x, so zooming in on a few
points shows all of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rbp_tui.charts.axis import Axis
from rbp_tui.charts.raster import Floats, extent
from rbp_tui.charts.series import ChartCurve

FEWEST = 4  # of fewer points, each one matters
HEIGHT = 1 / 2  # of all values, that the rest may need
ROOM = 1 / 4  # of the height of the rest, in which others stay
# Of very many points this many are looked at, evenly spaced. They are a sample, so fewer are left out than may be.
_LOOKED_AT, _MARGIN = 2_000, 0.8

Ends = tuple[float, float]


@dataclass(frozen=True)
class YRange:
    """The lowest and the highest value to show, and whether any lie outside."""

    low: float
    high: float
    clipped: bool = False


def y_range(curves: Sequence[ChartCurve], x_axis: Axis, *, log: bool, everything: bool = False) -> YRange | None:
    """The range of the values in the view, bands included; None if it has none. `everything`: leave nothing out."""
    drawn = [(curve, values) for curve in curves for values in _drawn(curve)]
    extents = [extent(curve.x, values, x_axis, log=log) for curve, values in drawn]
    whole = _joined(extents)
    if whole is None:
        return None
    if not everything:
        inside = [values[curve.inside(x_axis)] for curve, values in drawn]
        usual = [
            ends if curve.series.points else _usual(values, log=log) or ends
            for (curve, _), values, ends in zip(drawn, inside, extents, strict=True)
        ]
        rest = _joined([*usual, *(ends for curve in curves for ends in _kept(curve, x_axis, log=log))])
        if rest is not None and _worthwhile(rest, whole, log=log):
            shown = _with_neighbours(rest, inside, log=log)
            if shown != whole and all(_few_outside(values, shown) for values in inside):
                return YRange(*shown, clipped=True)
    return YRange(*whole)


def most_left_out(count: int) -> int:
    """How many of a curve's points may be left out."""
    return 0 if count < FEWEST else max(1, count // 10)


def _drawn(curve: ChartCurve) -> list[Floats]:
    return [curve.line, *(() if curve.raw is None else (curve.raw,)), *(curve.band or ())]


def _usual(values: Floats, *, log: bool) -> Ends | None:
    """The range of the values but those farthest from the median; None if each of them matters."""
    looked_at = values[:: 1 + len(values) // _LOOKED_AT]
    looked_at = looked_at[np.isfinite(looked_at)]
    left_out = most_left_out(len(looked_at))
    if not left_out:
        return None
    if len(values) >= _LOOKED_AT:
        left_out = int(_MARGIN * left_out)
    with np.errstate(over="ignore"):
        scaled = np.log(looked_at) if log else looked_at
        distances = np.abs(scaled - np.median(scaled))
    near = looked_at[distances <= np.partition(distances, -left_out - 1)[-left_out - 1]]
    return float(near.min()), float(near.max())


def _kept(curve: ChartCurve, x_axis: Axis, *, log: bool) -> Iterable[Ends]:
    """The values that are always shown, if they are in the view: the last and the best."""
    last = [(int(curve.known[-1]), curve.line)] if len(curve.known) else []
    best = [(curve.best, curve.y)] if curve.best is not None else []
    for index, values in last + best:
        value = float(values[index])
        if x_axis.low <= curve.x[index] <= x_axis.high and np.isfinite(value) and (value > 0 or not log):
            yield value, value


def _joined(found: Iterable[Ends | None]) -> Ends | None:
    known = [ends for ends in found if ends is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def _worthwhile(rest: Ends, whole: Ends, *, log: bool) -> bool:
    (low, high), (lowest, highest) = (_scaled(ends, log=log) for ends in (rest, whole))
    with np.errstate(over="ignore"):
        return bool(high - low <= HEIGHT * (highest - lowest))


def _with_neighbours(rest: Ends, inside: Iterable[Floats], *, log: bool) -> Ends:
    """The range of the rest and of all values not far from it."""
    low, high = _scaled(rest, log=log)
    with np.errstate(over="ignore"):
        room = ROOM * (high - low)
        lowest, highest = (np.exp if log else np.asarray)([low - room, high + room])
    near = (values[(values >= lowest) & (values <= highest)] for values in inside)
    return _joined([rest, *((float(values.min()), float(values.max())) for values in near if len(values))]) or rest


def _scaled(ends: Ends, *, log: bool) -> Floats:
    return np.log(ends) if log else np.array(ends)


def _few_outside(values: Floats, shown: Ends) -> bool:
    outside = np.count_nonzero((values < shown[0]) | (values > shown[1]))
    return bool(outside == 0 or outside <= most_left_out(int(np.count_nonzero(np.isfinite(values)))))
