"""What a search has found so far, as the same table as other sweeps: its best trial, and how its trials have ended."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rbp_engine.plan.identity import identity_of
from rbp_engine.plan.points import SweepPlan, SweepPoint, point_of
from rbp_engine.plan.search import Search, words_of
from rbp_engine.plan.states import PointState, Standing, standing_of
from rbp_engine.plan.study import TrialState
from rbp_engine.plan.trials import TrialRuns
from rbp_engine.preset import LoadedPreset, PresetError, read_resolved
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import record

# A preset takes some milliseconds to load.
MOST_DRAWN = 40


class SearchTable:
    """The trials of a search as a sweep and the states of its points. It remembers the presets of runs."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self._points: dict[RunDirectory, SweepPoint] = {}

    def states(self, trials: Sequence[TrialRuns]) -> list[PointState]:
        """The state of each run of these trials."""
        found = []
        for one in trials:
            for seed, run in one.runs.items():
                if run not in self._points:
                    self._points[run] = self._point(one, seed, run)
                now = record(run)
                if (earlier := one.before.get(seed)) is not None:
                    now = replace(now, summary=earlier, verdict=one.verdicts[seed])
                standing = standing_of(now.verdict, retry_failed=self.search.retry_failed)
                found.append(PointState(self._points[run], standing, now))
        return found

    def plan(self, states: Sequence[PointState]) -> SweepPlan:
        """The sweep that these points are."""
        keys = tuple(one.key for one in self.search.space.settings)
        return SweepPlan(self.search.name, self.search.request, keys, tuple(state.point for state in states))

    def _point(self, one: TrialRuns, seed: int, run: RunDirectory) -> SweepPoint:
        words = words_of(self.search.space, one.trial.values)
        loaded = replace(self.search.base, preset=read_resolved(run.preset_toml))
        return SweepPoint(one.trial.number, words, seed, loaded, identity_of(loaded))


def best_of(trials: Sequence[TrialRuns]) -> TrialRuns | None:
    """The completed trial with the highest score; of equal ones the first."""
    completed = [one for one in trials if one.trial.score is not None]
    return max(completed, key=lambda one: one.trial.score or 0.0, default=None)


def counts_of(trials: Sequence[TrialRuns]) -> dict[TrialState, int]:
    """How many trials are in each state, in the order of `TrialState`."""
    counted = Counter(one.trial.state for one in trials)
    return {state: counted[state] for state in TrialState if counted[state]}


def expected_states(search: Search, states: Sequence[PointState]) -> list[PointState]:
    """The states of a search, with a stand-in for each run that is still to come.

    Nobody knows its settings yet, so they are drawn at random; if they contradict each other, there is none.
    """
    known = {(state.point.trial, state.point.seed) for state in states}
    drawn: dict[int, LoadedPreset | None] = {}
    found = list(states)
    for trial in range(1, search.trials + 1):
        missing = [seed for seed in search.seeds if (trial, seed) not in known]
        draw = trial % MOST_DRAWN
        words = tuple(one.word(draw) for one in search.space.settings)
        if missing and draw not in drawn:
            drawn[draw] = _loaded(search, words)
        if missing and (loaded := drawn[draw]) is not None:
            points = (point_of(trial, words, loaded.with_run(seed=seed)) for seed in missing)
            found += [PointState(point, Standing.MISSING) for point in points]
    return found


def _loaded(search: Search, words: tuple[str, ...]) -> LoadedPreset | None:
    request = search.request
    try:
        return replace(request, overrides=(*request.overrides, *words)).load()
    except PresetError:
        return None
