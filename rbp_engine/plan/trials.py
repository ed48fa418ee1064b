"""The trials of a search as the files of their runs tell of them: there is no other record."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rbp_engine.errors import UserError
from rbp_engine.plan.search import Search
from rbp_engine.plan.study import SearchTrial, TrialState, Value
from rbp_engine.preset import read_resolved
from rbp_engine.preset.own_code import inside_a_run
from rbp_engine.preset.sweep.section import Drawn, value_in
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.files.events import LAST, Event, RunStart, Validation, supersede
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.stop_request import read_stop_request
from rbp_engine.run.files.summary import Scores, Summary, load_summary, read_summary
from rbp_engine.run.launch.making import is_half_made
from rbp_engine.run.status.status import Verdict, judge


class OtherExperiment(RunError):
    """A run has the id of a trial, and is not what the search would train."""


@dataclass(frozen=True)
class TrialRuns:
    """A trial, and its runs by seed with their verdicts; a seed may be missing if their making was interrupted.

    `before` has the summaries of runs that were trained longer since, as they were when they ended for the search.
    """

    trial: SearchTrial
    runs: dict[int, RunDirectory]
    verdicts: dict[int, Verdict]
    before: dict[int, Summary] = field(default_factory=dict)


class TrialReader:
    """Reads the trials of a search, again and again. It only remembers what it has read of events that are complete.

    `problems` says by number, after `read`, why a trial is left out: a run of it is damaged, or not of this search.
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        self.problems: dict[int, str] = {}
        self._values: dict[int, dict[str, Value]] = {}
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
        runs = {seed: run for seed, run in runs.items() if _is_there(run)}
        if not runs:
            return None
        first = next(iter(runs.values()))
        summaries = {seed: _summary(run) for seed, run in runs.items()}
        if number not in self._values:
            self._values[number] = self._checked_values(number, runs, summaries)
        before = {
            seed: earlier
            for seed, summary in summaries.items()
            if (earlier := self._before(runs[seed], summary)) is not None
        }
        verdicts = {seed: Verdict("completed", "") if seed in before else judge(run) for seed, run in runs.items()}
        state = state_of(self.search, runs, verdicts)
        score = None
        if state is TrialState.COMPLETED:
            score = self._score((summaries | before).values())
            state = TrialState.FAILED if score is None else state
        scores = self._scores(first) if self.search.space.pruner else {}
        if (earlier := before.get(next(iter(runs)))) is not None:
            scores = {epoch: top1 for epoch, top1 in scores.items() if epoch <= earlier.epochs}
        return TrialRuns(SearchTrial(number, self._values[number], state, score, scores), runs, verdicts, before)

    def _checked_values(
        self, number: int, runs: Mapping[int, RunDirectory], summaries: Mapping[int, Summary]
    ) -> dict[str, Value]:
        """The settings of a trial, once its runs are known to be what the search would train with them."""
        for run in runs.values():
            if not run.run_json.is_file():
                raise RunError(f"{run.path} is in the way, and has no run.json")
            record = read_run_json(run).sweep
            if record is None:
                raise RunError(f"{run.id} is in the way: its run.json names no search")
            if (record.name, record.trial) != (self.search.name, number):
                raise OtherExperiment(f"{run.id} is in the way: it is not trial {number} of {self.search.name}")
        seed, first = next(iter(runs.items()))
        values = values_of(self.search, first)
        # Those that were trained longer since are other experiments by that alone.
        made = [seed for seed, summary in summaries.items() if not summary.extended_from]
        wanted = self.search.request_of(number, seed, values).load().experiment if made else ""
        for seed in made:
            if summaries[seed].experiment != wanted:
                raise OtherExperiment(
                    f"{runs[seed].id} is another experiment than trial {number} would be now: "
                    "give the search another --name"
                )
        return values

    def _before(self, run: RunDirectory, summary: Summary) -> Summary | None:
        """The summary of a run that was trained longer since, as it was after the epochs that it was made for; None
        for any other run, and for one that has not come so far."""
        epochs = summary.extended_from
        if not epochs:
            return None
        scores = {epoch: top1 for epoch, top1 in self._scores(run).items() if epoch <= epochs}
        if epochs not in scores:
            return None
        best = max(scores, key=lambda epoch: scores[epoch])
        return replace(
            summary,
            epoch=epochs,
            epochs=epochs,
            extended_from=0,
            last=Scores(top1=scores[epochs], epoch=epochs),
            best=Scores(top1=scores[best], epoch=best),
        )

    def _score(self, summaries: Iterable[Summary]) -> float | None:
        """The mean over the seeds; None if a run has no accuracy."""
        scores: list[float] = []
        for summary in summaries:
            top1 = getattr(summary, self.search.objective).top1
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


def _is_there(run: RunDirectory) -> bool:
    """Whether anything has the name of a run, be it damaged: a file, a dangling link."""
    return run.run_json.is_file() or (os.path.lexists(run.path) and not is_half_made(run))


def _summary(run: RunDirectory) -> Summary:
    try:
        return load_summary(run)
    except RunError as error:
        raise RunError(f"{run.id}: {error}") from None


def state_of(search: Search, runs: Mapping[int, RunDirectory], verdicts: Mapping[int, Verdict]) -> TrialState:
    """The state of a trial, from those of its runs."""
    found = verdicts.values()
    if any(one.live for one in found):
        return TrialState.OPEN
    if failed := [one for one in found if one.status == "failed"]:
        return TrialState.DIVERGED if any(one.cause is Cause.NON_FINITE for one in failed) else TrialState.FAILED
    if len(runs) < len(search.seeds):
        return TrialState.OPEN
    if any(is_pruned(runs[seed], verdict) for seed, verdict in verdicts.items()):
        return TrialState.PRUNED
    return TrialState.COMPLETED if all(one.has_result for one in found) else TrialState.OPEN


def is_pruned(run: RunDirectory, verdict: Verdict) -> bool:
    """Whether a run that has ended was pruned, even if it ended for another reason before it heard of it."""
    return verdict.cause is Cause.PRUNED or read_stop_request(run).cause is Cause.PRUNED


def values_of(search: Search, run: RunDirectory) -> dict[str, Value]:
    """The settings that a search has given a run, from its preset. Raises UserError if they are not in its space."""
    preset, summary = read_resolved(run.preset_toml), read_summary(run)
    values = preset.model_dump()
    if summary is not None and summary.extended_from:
        values["train"]["epochs"] = summary.extended_from
    return {one.key: _value_of(one, _found(values, one.key), run) for one in search.space.settings}


def _found(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _value_of(setting: Drawn, value: Any, run: RunDirectory) -> Value:
    for choice in setting.choices:
        written = value_in(f"{setting.name}={choice}")
        if value == (inside_a_run(written) if isinstance(written, str) else written):
            return choice
    if not setting.choices and type(value) in (int, float) and setting.low <= value <= setting.high:
        return int(value) if setting.whole else float(value)
    raise OtherExperiment(
        f"{run.id} has {setting.name} = {value!r:.60}, which is not in the space of this search: give it another --name"
    )
