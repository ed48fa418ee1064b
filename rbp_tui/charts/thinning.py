"""The points of a long curve that show: a new value costs as much after a million as after a thousand."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbp_tui.charts.smoothing import Floats, smoothed

_BLOCKS = 2048  # of consecutive points; several for each column of dots of a wide terminal
_MANY = 8 * _BLOCKS  # curves of fewer points are drawn whole

Points = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Thinned:
    """Which `points` of a curve show, and the smoothed `line` there.

    Of each block of `width` points they are the first, the first that cannot be shown, and the lowest and highest of
    the values and of the line; of the one or more points after the last block, from `done` on, all.
    """

    x: Floats
    y: Floats
    width: int
    done: int
    points: Points
    line: Floats


def thinned(x: Floats, y: Floats, smoothing: float, log: bool, before: Thinned | None) -> Thinned | None:
    """The points of a curve that show; None if it is short, or `x` does not ascend.

    Blocks that are in `before`, the same for fewer points of the same curve, smoothing and axis, are kept.
    """
    if len(x) <= _MANY:
        return None
    width = 2 ** math.ceil(math.log2(len(x) / _BLOCKS))
    if before and (before.width != width or [_place(before.x), _place(before.y)] != [_place(x), _place(y)]):
        before = None
    start, done = (before.done if before else 0), (len(x) - 1) // width * width
    if not (np.diff(x[max(0, start - 1) :]) >= 0).all():
        return None
    line = smoothed(x, y, smoothing, log=log, start=start)
    found = [_ends(values.reshape(-1, width), log) for values in (y[start:done], line[: done - start])]
    new = np.append(np.unique(np.concatenate(found)), np.arange(done - start, len(x) - start))
    if not before:
        return Thinned(x, y, width, done, new, line[new])
    kept = int(np.searchsorted(before.points, start))
    points = np.append(before.points[:kept], start + new)
    return Thinned(x, y, width, done, points, np.append(before.line[:kept], line[new]))


def _place(values: Floats) -> int:
    """Where the values lie in memory: what stands there has not changed as long as a curve of it is kept."""
    return int(values.ctypes.data)


def _ends(blocks: Floats, log: bool) -> Points:
    """The first of each block of values, the first that cannot be shown, the lowest and the highest."""
    holes = ~np.isfinite(blocks) | (log & (blocks <= 0.0))
    lowest, highest = np.where(holes, np.inf, blocks).argmin(axis=1), np.where(holes, -np.inf, blocks).argmax(axis=1)
    first = np.arange(len(blocks)) * blocks.shape[1]
    return np.concatenate([first, first + holes.argmax(axis=1), first + lowest, first + highest])
