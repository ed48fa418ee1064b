"""What a search has found so far: its best trial, how its trials have ended, and the plan that they amount to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rbp_engine.plan.points import SweepPlan, point_of
from rbp_engine.plan.search import Search
from rbp_engine.plan.states import PointState, Standing
from rbp_engine.plan.study import TrialState
from rbp_engine.plan.trials import TrialRuns
from rbp_engine.preset import LoadedPreset, PresetError

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
