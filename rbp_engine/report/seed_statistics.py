"""Curves and costs from the events of runs, aggregated over the seeds of an experiment."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbp_engine.report.collect import RecordedRun
from rbp_engine.report.spread import Spread, spread
from rbp_engine.run.files.events import Metrics, RunStart, System, Validation, read_events

Floats = NDArray[np.float64]

#: The largest number of points of a mean of curves that have no x in common.
MEAN_POINTS = 5000


@dataclass(frozen=True)
class RunCourse:
    """One run by completed epochs: validation top-1 (fraction) and training loss; NaN for values that were lost."""

    top1: dict[int, float]
    loss: dict[int, float]


@dataclass(frozen=True)
class MeanCurve:
    """The mean of `count` curves at each x and their sample standard deviation (n - 1), None for a single curve."""

    x: Floats
    mean: Floats
    std: Floats | None
    count: int


@dataclass(frozen=True)
class RunCost:
    """One run: peak memory in bytes and the median time of a step in milliseconds; None if not recorded."""

    mem_peak: float | None
    step_ms: float | None


def course(entry: RecordedRun) -> RunCourse:
    """The course of a run, without the evaluations on the test set after training with a held-out split."""
    split = "held-out" if entry.held_out else "test"
    top1: dict[int, float] = {}
    losses: defaultdict[int, list[float]] = defaultdict(list)
    lost: list[RunStart] = []
    for event in read_events(entry.run.events()):
        body = event.body
        if isinstance(body, RunStart) and body.gap_from is not None:
            lost.append(body)
        elif isinstance(body, Validation) and body.split == split and body.weights == "last":
            if body.top1 is not None:
                top1[body.epoch] = body.top1
        elif isinstance(body, Metrics) and body.loss is not None:
            losses[body.epoch + 1].append(body.loss)  # metrics have the number of epochs complete before them
    return RunCourse(
        _with_gaps(top1, lost), _with_gaps({epoch: statistics.fmean(found) for epoch, found in losses.items()}, lost)
    )


def _with_gaps(values: dict[int, float], lost: Sequence[RunStart]) -> dict[int, float]:
    """The values by epoch, with NaN for an epoch in a gap that has none."""
    missing = {
        epoch
        for start in lost
        if start.gap_from is not None and start.steps_per_epoch
        for epoch in range(1 + start.gap_from // start.steps_per_epoch, 1 + (start.epoch or 0))
    }
    return dict(sorted((dict.fromkeys(missing, math.nan) | values).items()))


def cost(entry: RecordedRun) -> RunCost:
    """The cost of a run. The median ignores the slow first steps; the summary replaces lost events."""
    times: list[float] = []
    peaks: list[float] = []
    for event in read_events(entry.run.events()):
        if isinstance(event.body, Metrics) and event.body.step_ms is not None:
            times.append(event.body.step_ms)
        elif isinstance(event.body, System) and event.body.mem_peak is not None:
            peaks.append(event.body.mem_peak)
    summary = entry.summary
    return RunCost(
        max(peaks) if peaks else summary.mem_peak,
        statistics.median(times) if times else summary.step_ms,
    )


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
