"""What compared experiments reach at equal cost: after as many epochs, in the same time, and in the same memory.

Nothing is interpolated: an accuracy at a budget is that of a validation within it.

* Equal epochs: for each seed, the last epoch that all of its runs have validated.
* Equal time: for each seed, the time at which its fastest run made its last validation; of the others, the newest
  validation by then counts. Time is that of the wall clock from the start of a run's first attempt, with evaluations,
  checkpoints and compiling, without the time between attempts: the axis "time" of the charts. Imports have none.
* Equal memory: the peak of the baseline. Training needs its peak from the first steps on, so there is no accuracy
  within less of it: an experiment fits, with the accuracy that it reaches in all, or it does not.

A seed counts if the baseline and another experiment have it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rbp_engine.report.collect import Experiment, RecordedRun
from rbp_engine.report.compare import Comparison, Group
from rbp_engine.report.spread import Spread, paired, spread_of_known
from rbp_engine.run.files.events import RunStart, Validation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.history.curves import Curve, Floats
from rbp_engine.run.history.history_reader import read_history

#: Peaks of the same training differ by less than this factor, where they contain what else the process uses.
SAME_MEMORY = 1.01
#: The validation top-1 of a run by its id, None if it has none.
CurveOf = Callable[[str], Curve | None]


@dataclass(frozen=True)
class Reached:
    """Top-1 of a group within a budget, fractions over seeds, and its difference to the baseline, paired by seed."""

    top1: Spread | None = None
    difference: Spread | None = None


@dataclass(frozen=True)
class EqualCost:
    """What each group of a comparison has reached within equal budgets, in the order of the groups.

    `epochs` and `seconds` are the smallest and the largest budget of a seed, `memory` is in bytes; None if unknown.
    `memory_needed` is the peak of each group as a multiple of `memory`.
    """

    epochs: tuple[float, float] | None
    seconds: tuple[float, float] | None
    memory: float | None
    after_epochs: tuple[Reached, ...]
    in_time: tuple[Reached, ...]
    in_memory: tuple[Reached, ...]
    memory_needed: tuple[float | None, ...]


def at_epoch(top1: Curve, epoch: float) -> float | None:
    """The top-1 after this epoch; None if it was not validated."""
    return _last(top1.value[top1.epoch == epoch])


def by_time(top1: Curve, seconds: float) -> float | None:
    """The top-1 of the newest validation by this time; None if there was none yet."""
    return _last(top1.value[top1.seconds <= seconds])


def read_top1(run: RunDirectory) -> Curve | None:
    """The validation top-1 of a run, from its events; None if it has none, or they cannot be read."""
    history = read_history(run, kinds=(RunStart, Validation))
    if len(history.attempts) > 1:  # how long it paused between them, only all events tell
        history = read_history(run)
    return history.curves.get("validation/top1")


def equal_cost(comparison: Comparison, curve_of: CurveOf) -> EqualCost:
    """What the groups reach at equal cost, given their curves."""
    groups = comparison.groups
    curves = [_curves(group.counting, curve_of) for group in groups]
    theirs = Experiment.of(one for group in groups if group.is_baseline for one in group.counting)
    baseline = _curves(theirs.runs, curve_of)
    epochs, seconds = budgets(baseline, curves)
    memory = max((group.mem_peak for group in groups if group.is_baseline and group.mem_peak), default=None)
    whole = _reached(groups, curves, baseline, dict.fromkeys(seconds, math.inf), by_time)
    timed = {seed: budget for seed, budget in seconds.items() if math.isfinite(budget)}
    needed = tuple(group.mem_peak / memory if memory and group.mem_peak else None for group in groups)
    return EqualCost(
        epochs=_range(list(epochs.values())),
        seconds=_range(list(timed.values())),
        memory=memory,
        after_epochs=_reached(groups, curves, baseline, epochs, at_epoch),
        in_time=_reached(groups, curves, baseline, timed, by_time),
        in_memory=tuple(
            reached if share is not None and share <= SAME_MEMORY else Reached()
            for reached, share in zip(whole, needed, strict=True)
        ),
        memory_needed=needed,
    )


def budgets(
    baseline: dict[int | None, Curve], groups: Sequence[dict[int | None, Curve]]
) -> tuple[dict[int | None, float], dict[int | None, float]]:
    """The equal epochs and the equal time of each seed; `groups` has the curves of all, the baseline's too, by seed.

    A seed has no equal epochs if its runs have validated no epoch in common.
    """
    epochs, seconds = {}, {}
    for seed in baseline:
        beside = [known[seed] for known in groups if seed in known]
        if len(beside) < 2:
            continue
        seconds[seed] = min(float(curve.seconds[-1]) for curve in beside)
        if common := set.intersection(*(set(curve.epoch.tolist()) for curve in beside)):
            epochs[seed] = max(common)
    return epochs, seconds


def _reached(
    groups: Sequence[Group],
    curves: Sequence[dict[int | None, Curve]],
    baseline: dict[int | None, Curve],
    budget_of: dict[int | None, float],
    top1_at: Callable[[Curve, float], float | None],
) -> tuple[Reached, ...]:
    """What each group has reached within the budget of each seed."""
    theirs = {seed: top1_at(baseline[seed], budget) for seed, budget in budget_of.items()}
    found = []
    for group, known in zip(groups, curves, strict=True):
        ours = {seed: top1_at(known[seed], budget) for seed, budget in budget_of.items() if seed in known}
        difference = None if group.is_baseline else paired(ours, theirs)
        found.append(Reached(spread_of_known(ours.values()), difference))
    return tuple(found)


def _curves(runs: Sequence[RecordedRun], curve_of: CurveOf) -> dict[int | None, Curve]:
    """The curve of each seed that has validations, without what has no epoch or value; seconds not known are inf."""
    found = {}
    for one in runs:
        curve = curve_of(one.run.id)
        known = np.isfinite(curve.value) & np.isfinite(curve.epoch) if curve is not None else np.empty(0, dtype=bool)
        if curve is not None and known.any():
            # An import has no time of training: its log tells only when it was written, which may have been at once.
            seconds = curve.seconds if one.summary.trained_s else np.full_like(curve.seconds, math.inf)
            places = (curve.step, curve.epoch, seconds, curve.value)
            found[one.summary.seed] = Curve(*(values[known] for values in places))
    return found


def _last(values: Floats) -> float | None:
    return float(values[-1]) if len(values) else None


def _range(found: Sequence[float]) -> tuple[float, float] | None:
    return (min(found), max(found)) if found else None
