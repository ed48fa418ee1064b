"""The trials of a search, read from their runs: what was chosen so far, what came of it, and the plan they make."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rbp_engine.errors import UserError
from rbp_engine.plan.points import SweepPlan, SweepPoint, point_of
from rbp_engine.plan.search import Search
from rbp_engine.plan.states import PointState, Standing, standing_of
from rbp_engine.plan.study import SearchTrial, TrialState, Value
from rbp_engine.preset import LoadedPreset, PresetError, read_resolved
from rbp_engine.preset.own_code import inside_a_run
from rbp_engine.preset.sweep.varied import Varied, value_in
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.files.events import LAST, Event, RunStart, Validation, supersede
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.stop_request import read_stop_request
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.store import RunRecord, record


class OtherExperiment(RunError):
    """A run has the id of a trial, and is not what the search would train."""


@dataclass(frozen=True)
class TrialRuns:
    """A trial, its points by seed, and the records of their runs; a seed is missing if their making was interrupted."""

    trial: SearchTrial
    points: dict[int, SweepPoint] = field(default_factory=dict)
    records: dict[int, RunRecord] = field(default_factory=dict)

    @property
    def runs(self) -> dict[int, RunDirectory]:
        return {seed: one.run for seed, one in self.records.items()}

    @property
    def verdicts(self) -> dict[int, Verdict]:
        return {seed: one.verdict for seed, one in self.records.items()}

    def states(self, *, retry_failed: bool = False) -> list[PointState]:
        """Where its points stand."""
        return [
            PointState(self.points[seed], standing_of(one.verdict, retry_failed=retry_failed), one)
            for seed, one in self.records.items()
        ]


class TrialReader:
    """Reads the trials of a search, again and again. It remembers what never changes, and the events that it has read.

    `problems` says by number, after `read`, why a trial is left out: a run of it is damaged, or not of this search.
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        self.problems: dict[int, str] = {}
        self._points: dict[RunDirectory, tuple[SweepPoint, dict[str, Value]]] = {}
        self._events: dict[RunDirectory, _Events] = {}

    def read(self) -> list[TrialRuns]:
        """The trials that have been started, in order, without those that are left out.

        Raises RunError if none is of the search and a run of another experiment has the id of one, as after a change of
        the preset.
        """
        found: list[TrialRuns] = []
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

    def _trial(self, number: int) -> TrialRuns | None:
        runs = {seed: self.search.run_of(number, seed) for seed in self.search.seeds}
        # Also what is damaged: a file, a dangling link.
        runs = {seed: run for seed, run in runs.items() if os.path.lexists(run.path)}
        if not runs:
            return None
        records = {seed: self._record(number, seed, run) for seed, run in runs.items()}
        values = self._points[next(iter(runs.values()))][1]
        state = state_of(self.search, records)
        score = None
        if state is TrialState.COMPLETED:
            score = self._score(one.summary for one in records.values())
            state = TrialState.FAILED if score is None else state
        scores = self._scores(next(iter(runs.values()))) if self.search.space.pruner else {}
        points = {seed: self._points[run][0] for seed, run in runs.items()}
        return TrialRuns(SearchTrial(number, values, state, score, scores), points, records)

    def _record(self, number: int, seed: int, run: RunDirectory) -> RunRecord:
        """The record of a run, once it is known to be what the search would train."""
        found = record(run)
        if not found.readable:
            raise RunError(f"{run.id}: {found.verdict.reason}")
        if run not in self._points:
            self._points[run] = self._checked_point(number, seed, found)
        return found

    def _checked_point(self, number: int, seed: int, found: RunRecord) -> tuple[SweepPoint, dict[str, Value]]:
        """The point of a run, and its settings."""
        run = found.run
        if not run.run_json.is_file():
            raise RunError(f"{run.path} is in the way, and has no run.json")
        sweep = read_run_json(run).sweep
        if sweep is None:
            raise RunError(f"{run.id} is in the way: its run.json names no search")
        if (sweep.name, sweep.trial) != (self.search.name, number):
            raise OtherExperiment(f"{run.id} is in the way: it is not trial {number} of {self.search.name}")
        values = values_of(self.search, run)
        loaded = self.search.request_of(number, seed, values).load().with_run(seed=seed)
        if found.summary.experiment != loaded.experiment:
            raise OtherExperiment(
                f"{run.id} is another experiment than trial {number} would be now: give the search another --name"
            )
        return point_of(number, self.search.space.words_of(values), loaded), values

    def _score(self, summaries: Iterable[Summary]) -> float | None:
        """The mean over the seeds; None if a run has no accuracy."""
        scores: list[float] = []
        for summary in summaries:
            top1 = summary.last.top1
            if top1 is None:
                return None
            scores.append(top1)
        return sum(scores) / len(scores)

    def _scores(self, run: RunDirectory) -> dict[int, float]:
        return self._events.setdefault(run, _Events(EventReader(run.events(), (RunStart, Validation)))).scores()


@dataclass
class _Events:
    """The validations of a run as far as they have been read."""

    reader: EventReader
    events: list[Event] = field(default_factory=list)

    def scores(self) -> dict[int, float]:
        """Top-1 of the last weights by epoch, on the data that epochs are validated on."""
        self.events = supersede([*self.events, *self.reader.poll()])
        bodies = [event.body for event in self.events if isinstance(event.body, Validation)]
        split = bodies[0].split if bodies else ""
        chosen = (body for body in bodies if body.weights == LAST and body.split == split)
        return {body.epoch: body.top1 for body in chosen if body.top1 is not None}


def state_of(search: Search, records: Mapping[int, RunRecord]) -> TrialState:
    """The state of a trial, from those of its runs."""
    found = [one.verdict for one in records.values()]
    if any(one.live for one in found):
        return TrialState.OPEN
    if failed := [one for one in found if one.status == "failed"]:
        return TrialState.DIVERGED if any(one.cause is Cause.NON_FINITE for one in failed) else TrialState.FAILED
    if len(records) < len(search.seeds):
        return TrialState.OPEN
    if any(is_pruned(one) for one in records.values()):
        return TrialState.PRUNED
    return TrialState.COMPLETED if all(one.has_result for one in found) else TrialState.OPEN


def is_pruned(ended: RunRecord) -> bool:
    """Whether a run that has ended was pruned, even if it ended for another reason before it heard of it."""
    return ended.verdict.cause is Cause.PRUNED or read_stop_request(ended.run).cause is Cause.PRUNED


def values_of(search: Search, run: RunDirectory) -> dict[str, Value]:
    """The settings that a search has given a run, from its preset. Raises UserError if they are not in its space."""
    values = read_resolved(run.preset_toml).model_dump()
    return {one.key: _value_of(one, _found(values, one.key), run) for one in search.space.settings}


def _found(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


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


# A preset takes some milliseconds to load.
MOST_DRAWN = 40


def plan_so_far(search: Search, trials: Sequence[TrialRuns]) -> tuple[SweepPlan, list[PointState]]:
    """The plan to which a search has grown, and where its points stand."""
    states = [state for one in trials for state in one.states(retry_failed=search.retry_failed)]
    return _plan(search, states), states


def plan_to_the_end(search: Search, trials: Sequence[TrialRuns]) -> tuple[SweepPlan, list[PointState]]:
    """The same, with a stand-in for each run that is still to come.

    Nobody knows its settings yet, so they are drawn at random; if they contradict each other, there is none.
    """
    _, found = plan_so_far(search, trials)
    known = {(state.point.trial, state.point.seed) for state in found}
    drawn: dict[int, LoadedPreset | None] = {}
    for trial in range(1, search.trials + 1):
        missing = [seed for seed in search.seeds if (trial, seed) not in known]
        draw = trial % MOST_DRAWN
        words = tuple(one.word(draw) for one in search.space.settings)
        if missing and draw not in drawn:
            drawn[draw] = _loaded(search, words)
        if missing and (loaded := drawn[draw]) is not None:
            points = (point_of(trial, words, loaded.with_run(seed=seed)) for seed in missing)
            found += [PointState(point, Standing.MISSING) for point in points]
    return _plan(search, found), found


def _plan(search: Search, states: Sequence[PointState]) -> SweepPlan:
    keys = tuple(one.key for one in search.space.settings)
    return SweepPlan(search.name, search.request, keys, tuple(state.point for state in states))


def _loaded(search: Search, words: tuple[str, ...]) -> LoadedPreset | None:
    request = search.request
    try:
        return replace(request, overrides=(*request.overrides, *words)).load()
    except PresetError:
        return None


def best_of(trials: Sequence[TrialRuns]) -> TrialRuns | None:
    """The completed trial with the highest score; of equal ones the first."""
    completed = [one for one in trials if one.trial.score is not None]
    return max(completed, key=lambda one: one.trial.score or 0.0, default=None)


def counts_of(trials: Sequence[TrialRuns]) -> dict[TrialState, int]:
    """How many trials are in each state, in the order of `TrialState`."""
    counted = Counter(one.trial.state for one in trials)
    return {state: counted[state] for state in TrialState if counted[state]}
