"""Curves and costs out of the events of runs, put together over the seeds of an experiment."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rbp_engine.report.collect import Recorded
from rbp_engine.report.spread import Spread, spread
from rbp_engine.run.events import Metrics, System, Validation, read_events


@dataclass(frozen=True)
class Course:
    """One run by completed epochs: validation top-1 (fraction) and training loss."""

    top1: dict[int, float]
    loss: dict[int, float]


@dataclass(frozen=True)
class Cost:
    """One run: peak memory in bytes and the median time of a step in milliseconds; None where not on record."""

    mem_peak: float | None
    step_ms: float | None


def course(entry: Recorded) -> Course:
    """The course of a run; the evaluations on the test set after training with a held-out split are no part of it."""
    split = "held-out" if entry.held_out else "test"
    top1: dict[int, float] = {}
    losses: defaultdict[int, list[float]] = defaultdict(list)
    for event in read_events(entry.run.events()):
        body = event.body
        if isinstance(body, Validation) and body.split == split and body.weights == "last":
            if body.top1 is not None:
                top1[body.epoch] = body.top1
        elif isinstance(body, Metrics) and body.loss is not None:
            losses[body.epoch + 1].append(body.loss)  # metrics count the epochs that were complete before them
    return Course(top1, {epoch: statistics.fmean(found) for epoch, found in losses.items()})


def cost(entry: Recorded) -> Cost:
    """What a run has cost. The median passes over the slow first steps; the summary stands in for lost events."""
    times: list[float] = []
    peaks: list[float] = []
    for event in read_events(entry.run.events()):
        if isinstance(event.body, Metrics) and event.body.step_ms is not None:
            times.append(event.body.step_ms)
        elif isinstance(event.body, System) and event.body.mem_peak is not None:
            peaks.append(event.body.mem_peak)
    summary = entry.summary
    return Cost(
        max(peaks) if peaks else summary.mem_peak,
        statistics.median(times) if times else summary.step_ms,
    )


def over_seeds(curves: Sequence[dict[int, float]]) -> dict[int, Spread]:
    """The spread at each epoch that every seed has, in order: a mean over fewer seeds would jump where one ends."""
    common = set.intersection(*(set(curve) for curve in curves)) if curves else set()
    return {epoch: spread([curve[epoch] for curve in curves]) for epoch in sorted(common)}


def by_timesteps(values: Iterable[tuple[int, float | None]]) -> dict[int, Spread]:
    """The spread of the known values at each T, in order of T."""
    known: defaultdict[int, list[float]] = defaultdict(list)
    for timesteps, value in values:
        if value is not None:
            known[timesteps].append(value)
    return {timesteps: spread(known[timesteps]) for timesteps in sorted(known)}
