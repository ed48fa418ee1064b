"""The trials of a search, read from their runs: what was chosen so far, what came of it, and the plan they make."""

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rbp_engine.errors import UserError
from rbp_engine.plan.points import SweepPlan, SweepPoint
from rbp_engine.plan.search import Search
from rbp_engine.plan.states import PointState, Standing, standing_of
from rbp_engine.plan.study import SearchTrial, TrialState, Value
from rbp_engine.preset import read_resolved
from rbp_engine.preset.layers import value_at
from rbp_engine.preset.own_code import inside_a_run
from rbp_engine.preset.sweep.section import Varied, value_in
from rbp_engine.printable import one_line
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.events import RunStart, Validation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import SweepRecord, read_run_json
from rbp_engine.run.files.stop_request import read_stop_request
from rbp_engine.run.history.history_reader import HistoryReader
from rbp_engine.run.store.store import RunRecord, record


class OtherExperiment(RunError):
    """A run has the id of a trial, and is not what the search would train."""


@dataclass(frozen=True)
class TrialRun:
    """A trial, and the point and the record of its run."""

    trial: SearchTrial
    point: SweepPoint
    record: RunRecord


class TrialReader:
    """Reads the trials of a search, again and again. It remembers what never changes, and the events that it has read.

    `problems` says by number, after `read`, why a trial is left out: a run of it is damaged, or not of this search.
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        self.problems: dict[int, str] = {}
        self._points: dict[RunDirectory, tuple[SweepPoint, dict[str, Value]]] = {}
        self._readers: dict[RunDirectory, HistoryReader] = {}

    def read(self) -> list[TrialRun]:
        """The trials that have been started, in order, without those that are left out.

        Raises RunError if none is of the search and a run of another experiment has the id of one, as after a change of
        the preset.
        """
        found: list[TrialRun] = []
        self.problems = {}
        other: OtherExperiment | None = None
        for number in range(1, self.search.trials + 1):
            try:
                one = self._trial(number)
            except (UserError, OSError) as error:
                other = other or (error if isinstance(error, OtherExperiment) else None)
                self.problems[number] = "; ".join(line.strip() for line in str(error).splitlines())
            else:
                found += [] if one is None else [one]
        if other is not None and not found:
            raise other
        return found

    def _trial(self, number: int) -> TrialRun | None:
        run = self.search.run_of(number)
        if not os.path.lexists(run.path):  # what is damaged is there: a file, a dangling link
            return None
        found = record(run)
        if not found.readable:
            raise RunError(f"{run.id}: {found.verdict.reason}")
        if run not in self._points:
            self._points[run] = self._checked_point(number, found)
        point, values = self._points[run]
        state = state_of(found)
        score = found.summary.last.top1 if state is TrialState.COMPLETED else None
        if state is TrialState.COMPLETED and score is None:
            state = TrialState.FAILED
        scores = self._scores(run) if self.search.space.pruner else {}
        return TrialRun(SearchTrial(number, values, state, score, scores), point, found)

    def _checked_point(self, number: int, found: RunRecord) -> tuple[SweepPoint, dict[str, Value]]:
        """The point of a run, once it is known to be what the search would train, and its settings."""
        run = found.run
        if read_run_json(run).sweep != SweepRecord(one_line(self.search.name), number):
            raise OtherExperiment(f"{run.id} is in the way: it is not trial {number} of {self.search.name}")
        values = values_of(self.search, run)
        loaded = self.search.request_of(number, values).load().with_run(seed=self.search.seed)
        if found.summary.experiment != loaded.experiment:
            raise OtherExperiment(
                f"{run.id} is another experiment than trial {number} would be now: give the search another --name"
            )
        return SweepPoint(number, self.search.space.words_of(values), loaded), values

    def _scores(self, run: RunDirectory) -> dict[int, float]:
        """Top-1 by epoch, as far as the run has reported it. Raises OSError if its events cannot be read."""
        reader = self._readers.setdefault(run, HistoryReader(run, first_rank=True, kinds=(RunStart, Validation)))
        reader.poll()
        if reader.errors:
            raise reader.errors[0]
        curve = reader.history().curves.get("validation/top1")
        found = zip(curve.epoch.tolist(), curve.value.tolist(), strict=True) if curve is not None else ()
        return {int(epoch): top1 for epoch, top1 in found if not math.isnan(top1)}


def state_of(found: RunRecord) -> TrialState:
    """The state of a trial, from that of its run."""
    verdict = found.verdict
    if verdict.status == "failed":
        return TrialState.DIVERGED if verdict.cause is Cause.NON_FINITE else TrialState.FAILED
    if is_pruned(found) and not verdict.live:
        return TrialState.PRUNED
    return TrialState.COMPLETED if verdict.has_result else TrialState.OPEN


def is_pruned(ended: RunRecord) -> bool:
    """Whether a run that has ended was pruned, even if it ended for another reason before it heard of it."""
    return ended.verdict.cause is Cause.PRUNED or read_stop_request(ended.run).cause is Cause.PRUNED


def values_of(search: Search, run: RunDirectory) -> dict[str, Value]:
    """The settings that a search has given a run, from its preset. Raises UserError if they are not in its space."""
    values = read_resolved(run.preset_toml).model_dump()
    return {one.key: _value_of(one, value_at(values, tuple(one.key.split("."))), run) for one in search.space.settings}


def _value_of(setting: Varied, value: Any, run: RunDirectory) -> Value:
    for choice in setting.values:
        written = value_in(f"{setting.name}={choice}")
        if value == (inside_a_run(written) if isinstance(written, str) else written):
            return choice
    if not setting.values and type(value) in (int, float) and setting.low <= value <= setting.high:
        return int(value) if setting.whole else float(value)
    raise OtherExperiment(
        f"{run.id} has {setting.name} = {value!r:.60}, which is not in the space of this search: give it another --name"
    )


def plan_so_far(search: Search, trials: Sequence[TrialRun]) -> tuple[SweepPlan, list[PointState]]:
    """The plan to which a search has grown, and where its points stand."""
    states = [
        PointState(one.point, standing_of(one.record.verdict, retry_failed=search.retry_failed), one.record)
        for one in trials
    ]
    return _plan(search, states), states


def plan_to_the_end(search: Search, trials: Sequence[TrialRun]) -> tuple[SweepPlan, list[PointState]]:
    """The same, with a stand-in for each run that is still to come: nobody knows its settings yet, so they are those at
    the ends of their ranges in turn."""
    _, found = plan_so_far(search, trials)
    for trial in sorted({*range(1, search.trials + 1)} - {state.point.trial for state in found}):
        loaded = search.ends[trial % len(search.ends)]
        found.append(PointState(SweepPoint(trial, (), loaded), Standing.MISSING))
    return _plan(search, found), found


def _plan(search: Search, states: Sequence[PointState]) -> SweepPlan:
    keys = tuple(one.key for one in search.space.settings)
    return SweepPlan(search.name, search.request, keys, tuple(state.point for state in states))


def best_of(trials: Sequence[TrialRun]) -> TrialRun | None:
    """The completed trial with the highest score; of equal ones the first."""
    completed = [one for one in trials if one.trial.score is not None]
    return max(completed, key=lambda one: one.trial.score or 0.0, default=None)


def counts_of(trials: Sequence[TrialRun]) -> dict[TrialState, int]:
    """How many trials are in each state, in the order of `TrialState`."""
    counted = Counter(one.trial.state for one in trials)
    return {state: counted[state] for state in TrialState if counted[state]}
