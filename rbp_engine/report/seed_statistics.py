"""Curves and costs from the events of runs, aggregated over the seeds of an experiment."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbp_engine.report.spread import Spread, spread
from rbp_engine.run.history.curves import Curve

Floats = NDArray[np.float64]

#: The largest number of points of a mean of curves that have no x in common.
MEAN_POINTS = 5000


@dataclass(frozen=True)
class MeanCurve:
    """The mean of `count` curves at each x and their sample standard deviation (n - 1), None for a single curve."""

    x: Floats
    mean: Floats
    std: Floats | None
    count: int


def by_epoch(curve: Curve | None) -> dict[int, float]:
    """The mean of a curve in each epoch, counted from 1; NaN for an epoch whose values were lost."""
    found: dict[int, list[float]] = {}
    before = 0
    for place, value in zip(curve.epoch.tolist(), curve.value.tolist(), strict=True) if curve else ():
        if math.isnan(place):
            continue
        epoch = math.ceil(place)
        if math.isnan(value):  # a gap, up to here
            found |= {lost: [] for lost in range(before + 1, epoch + 1) if lost not in found}
        else:
            found.setdefault(epoch, []).append(value)
        before = epoch
    return {epoch: statistics.fmean(values) if values else math.nan for epoch, values in sorted(found.items())}


def by_step(curve: Curve | None) -> dict[int, float]:
    """A curve at its steps."""
    return dict(zip(curve.step.astype(int).tolist(), curve.value.tolist(), strict=True)) if curve else {}


def over_seeds(curves: Sequence[dict[int, float]]) -> dict[int, Spread]:
    """The spread at each epoch that all seeds have, in order: a mean over fewer seeds would jump where one ends.

    If one of the values is NaN, the mean is NaN.
    """
    common = set.intersection(*(set(curve) for curve in curves)) if curves else set()
    values = {epoch: [curve[epoch] for curve in curves] for epoch in sorted(common)}
    return {
        epoch: Spread(math.nan, None, len(found)) if any(map(math.isnan, found)) else spread(found)
        for epoch, found in values.items()
    }


def mean_curve(curves: Iterable[tuple[Floats, Floats]]) -> MeanCurve | None:
    """The mean of curves, each given as x and y, over the range of x that all of them cover; None if there is none.

    If their points have the same x, as evaluations by epoch do, these are used; otherwise, as by seconds, curves are
    interpolated linearly. Values that are not finite are gaps: the mean is NaN where one of the curves has one. Of
    points with the same x only the first is used.
    """
    known = [one for x, y in curves if np.isfinite((one := _ascending(x, y))[1]).any()]
    if not known:
        return None
    spans = [x[np.isfinite(y)] for x, y in known]
    start, end = max(x[0] for x in spans), min(x[-1] for x in spans)
    if start > end:
        return None
    places = known[0][0]
    if any(not np.array_equal(x, places) for x, _ in known):
        places = np.unique(np.concatenate([x for x, _ in known]))
    places = places[(places >= start) & (places <= end)]
    if len(known) > 1 and len(places) > MEAN_POINTS:
        places = np.linspace(start, end, MEAN_POINTS)
    values = np.stack([_along(places, x, y) for x, y in known])
    std = values.std(axis=0, ddof=1) if len(known) > 1 else None
    return MeanCurve(places, values.mean(axis=0), std, len(known))


def _ascending(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The points sorted by x, without those that have no x; of several with the same x, the first that has a value."""
    placed = np.flatnonzero(np.isfinite(x))
    order = placed[np.lexsort((~np.isfinite(y[placed]), x[placed]))]
    places, first = np.unique(x[order], return_index=True)
    return places, y[order][first]


def _along(places: Floats, x: Floats, y: Floats) -> Floats:
    """The curve at these places, interpolated linearly; NaN where a gap lies between the two neighbours."""
    known = np.isfinite(y)
    values = np.interp(places, x[known], y[known])
    behind = np.searchsorted(x[known], places)
    in_gap = np.isin(behind, np.searchsorted(x[known], x[~known])) & ~np.isin(places, x[known])
    return np.where(in_gap, np.nan, values)


def by_timesteps(values: Iterable[tuple[int, float | None]]) -> dict[int, Spread]:
    """The spread of the known values at each T, in order of T."""
    known: defaultdict[int, list[float]] = defaultdict(list)
    for timesteps, value in values:
        if value is not None:
            known[timesteps].append(value)
    return {timesteps: spread(known[timesteps]) for timesteps in sorted(known)}
