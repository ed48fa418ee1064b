"""Exponential smoothing over x.

It uses all the data, so that zooming does not change what is drawn at a point. On a log axis it averages logarithms:
a curve is then smoothed as it is seen.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NEGLIGIBLE = 1e-17  # a weight too small to change a float64 sum
_LOOKED_AT = 10_000  # distances; the median of more is the same and takes longer
# The lower edge of a band that reaches to 0 or below, as a share of the value, where logarithms are averaged.
_DEEPEST, _SMALLEST = 1e-3, 5e-324


def spacing(x: Floats) -> float:
    """The usual distance between neighbours of ascending `x`: the median of those that differ."""
    every = 1 + len(x) // _LOOKED_AT
    steps = x[1:][::every] - x[:-1][::every]
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else 1.0


def smoothed(x: Floats, y: Floats, smoothing: float, *, log: bool = False, start: int = 0) -> Floats:
    """The mean of each value from `start` on and all before it, weighted by `smoothing` to the power of their distance.

    Distances are in units of the usual `spacing`, so evenly spaced points give the debiased exponential average with
    that factor, and values before a hole in the data lose their weight. Non-finite values stay and have no weight.
    With `log` the mean is geometric, and this also holds for values of 0 or less.
    """
    if smoothing <= 0.0 or len(x) < 2:
        return y[start:]
    fade = math.log(smoothing) / spacing(x)
    first = int(np.searchsorted(x, x[start] - math.log(_NEGLIGIBLE) / fade)) if start else 0
    x, y = x[first:], y[first:]
    if not log:
        return _smoothed(x, y, fade)[start - first :]
    shown = y > 0
    with np.errstate(all="ignore"):
        means = np.exp(_smoothed(x, np.log(np.where(shown, y, np.nan)), fade))
    return np.where(shown, means, y)[start - first :]


def smoothed_band(
    x: Floats, y: Floats, edges: tuple[Floats, Floats], smoothing: float, *, log: bool = False
) -> tuple[Floats, Floats]:
    """The edges of a band around `y`, smoothed like `y`, which stays between them.

    An edge is `y` itself where it is missing. With `log`, a lower edge at 0 or below is a thousandth of `y`.
    """
    if smoothing <= 0.0 or len(x) < 2:
        return edges
    line = smoothed(x, y, smoothing, log=log)
    low, high = (np.where(np.isfinite(edge), edge, y) for edge in edges)
    # All three have values at the same places, so their means have the same weights and the same order.
    known = np.isfinite(y) & (y > 0) if log else np.isfinite(y)
    if log:
        with np.errstate(invalid="ignore"):
            low = np.maximum(low, np.maximum(_DEEPEST * y, _SMALLEST))
    low, high = np.where(known, np.minimum(low, y), np.nan), np.where(known, np.maximum(high, y), np.nan)
    # Rounding must not change the order.
    return (
        np.minimum(smoothed(x, low, smoothing, log=log), line),
        np.maximum(smoothed(x, high, smoothing, log=log), line),
    )


def _smoothed(x: Floats, y: Floats, logarithm: float) -> Floats:
    known = np.isfinite(y)
    weight = known.astype(np.float64)
    total = np.where(known, y, 0.0)
    # A parallel prefix sum: after the pass with `reach`, each place holds the sums over the 2 * reach last points. All
    # terms are weights in 0..1, so unlike a cumulative sum of growing exponentials it cannot overflow.
    fade = np.exp(np.diff(x) * logarithm)  # from the place `reach` before to this one
    reach = 1
    while len(fade) and fade.max() > _NEGLIGIBLE:
        # The right-hand sides are computed in full before they are added: each reads the previous pass's sums.
        total[reach:] += fade * total[:-reach]
        weight[reach:] += fade * weight[:-reach]
        fade = fade[reach:] * fade[:-reach]
        reach *= 2
    return np.where(known, total / np.where(known, weight, 1.0), y)
