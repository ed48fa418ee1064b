"""Exponential smoothing over x, and the extremes of what it averages.

Both look at all the data, so what is drawn at a place does not depend on how far the reader has zoomed in.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NEGLIGIBLE = 1e-17  # a weight that no float64 sum notices


def spacing(x: Floats) -> float:
    """The usual distance between neighbours of ascending `x`: the median of those that differ."""
    steps = np.diff(x)
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else 1.0


def smoothed(x: Floats, y: Floats, smoothing: float) -> Floats:
    """The mean of each value and all before it, weighted by `smoothing` to the power of their distance.

    Distances are in units of the usual `spacing`, so evenly spaced points give the debiased exponential average with
    that factor, and a hole in the data forgets what lies before it. Non-finite values stay and weigh nothing.
    """
    if smoothing <= 0.0 or len(x) < 2:
        return y
    known = np.isfinite(y)
    weight = known.astype(np.float64)
    total = np.where(known, y, 0.0)
    # A parallel prefix sum: after the pass with `reach`, each place holds the sums over the 2 * reach last points. All
    # terms are weights in 0..1, so unlike a cumulative sum of growing exponentials it cannot overflow.
    fade = np.exp(np.diff(x) * (math.log(smoothing) / spacing(x)))  # from the place `reach` before to this one
    reach = 1
    while len(fade) and fade.max() > _NEGLIGIBLE:
        # The right-hand sides are computed whole before they are added: each reads the sums of the pass before.
        total[reach:] += fade * total[:-reach]
        weight[reach:] += fade * weight[:-reach]
        fade = fade[reach:] * fade[:-reach]
        reach *= 2
    return np.where(known, total / np.where(known, weight, 1.0), y)


def running_extremes(x: Floats, y: Floats, smoothing: float) -> tuple[Floats, Floats]:
    """The lowest and highest of the values up to each place, over the distance that the smoothed value looks back.

    That distance is the mean age of the weights, 1 / (1 - smoothing) points at the usual spacing.
    """
    if smoothing <= 0.0 or len(x) < 2:
        return y, y
    window = spacing(x) / (1.0 - smoothing)
    places = np.arange(len(x))
    # The first of the places that the window holds; rounding must not drop a point that lies at its edge.
    first = np.minimum(np.searchsorted(x, x - window * (1 + 1e-9), side="left"), places)
    level = np.log2(places - first + 1).astype(np.int64)
    low, high = np.empty_like(y), np.empty_like(y)
    # Ranges of 2^k points by doubling; two of them, overlapping, cover any window.
    lowest, highest = y, y
    for power in range(int(level.max()) + 1):
        if power:
            half = 1 << (power - 1)
            lowest = np.fmin(lowest[:-half], lowest[half:])
            highest = np.fmax(highest[:-half], highest[half:])
        here = np.flatnonzero(level == power)
        start, end = first[here], here - (1 << power) + 1
        low[here] = np.fmin(lowest[start], lowest[end])
        high[here] = np.fmax(highest[start], highest[end])
    known = np.isfinite(y)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)
