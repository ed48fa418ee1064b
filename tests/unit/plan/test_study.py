"""What a search proposes, prunes and finds important, as a function of the trials that there are."""

import itertools
import math
import sys
from dataclasses import replace

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbp_engine.plan.study import SearchSpace, SearchTrial, TrialState, Value, importance, propose, pruned_after
from rbp_engine.preset.sweep.section import Varied
from rbp_engine.run.errors import RunError

LR = Varied("lr", low=0.001, high=1.0, log=True)
STEPS = Varied("T", low=2, high=8, whole=True)
METHOD = Varied("method", values=("bptt", "rate_m"))
SPACE = SearchSpace("digits-tpe-1", (LR, STEPS, METHOD))
EPOCHS = 9


def top1(values: dict[str, Value]) -> float:
    """Best at lr = 0.05; T hardly matters, and the method not at all."""
    return 0.9 - 0.2 * abs(math.log10(float(values["optim.lr"])) + 1.3) + 0.001 * float(values["method.timesteps"])


def curve(values: dict[str, Value]) -> dict[int, float]:
    return {epoch: top1(values) * epoch / (epoch + 1) for epoch in range(1, EPOCHS + 1)}


def searched(space: SearchSpace, count: int, known: list[SearchTrial] | None = None) -> list[SearchTrial]:
    """The trials of a search with one slot, which goes on from those that are known."""
    trials = list(known or [])
    for number in range(len(trials) + 1, count + 1):
        values = propose(space, trials, number)
        if values is None:
            break
        live = SearchTrial(number, values, scores=curve(values))
        epoch = pruned_after(space, [*trials, live], number)
        state = TrialState.COMPLETED if epoch is None else TrialState.PRUNED
        # A stop comes a few epochs late.
        scores = {at: score for at, score in live.scores.items() if epoch is None or at <= epoch + number % 3}
        trials.append(SearchTrial(number, values, state, top1(values) if epoch is None else None, scores))
    return trials


@pytest.fixture(scope="module")
def whole():
    """Twenty-four trials of a search that nobody interrupts, for each pruner."""
    return {pruner: searched(SearchSpace("s", SPACE.settings, pruner, EPOCHS), 24) for pruner in PRUNING}


PRUNING = ("", "median")


@settings(max_examples=12, deadline=None)
@given(cut=st.integers(0, 23), pruner=st.sampled_from(PRUNING))
def test_a_search_that_goes_on_from_the_trials_there_are_proposes_what_it_would_have(cut, pruner, whole):
    space = SearchSpace("s", SPACE.settings, pruner, EPOCHS)
    assert searched(space, cut + 1, whole[pruner][:cut]) == whole[pruner][: cut + 1]


def test_later_trials_and_their_order_make_no_difference(whole):
    trials = whole[""]
    space = SearchSpace("s", SPACE.settings, "", EPOCHS)
    assert propose(space, trials[::-1], 15) == trials[14].values


def test_it_finds_better_settings_than_its_first_ten_random_ones(whole):
    scores = [trial.score or 0.0 for trial in whole[""]]
    assert sum(scores[10:]) / 14 > sum(scores[:10]) / 10 + 0.05
    assert next(iter(importance(SPACE, whole[""]))) == "optim.lr"
    assert importance(SPACE, whole[""][:9]) == {}


def test_numbers_are_rounded_to_what_can_be_typed_and_stay_in_their_range(whole):
    for trial in whole[""]:
        rate, steps = trial.values["optim.lr"], trial.values["method.timesteps"]
        assert isinstance(rate, float) and 0.001 <= rate <= 1.0 and rate == float(f"{rate:.4g}")
        assert isinstance(steps, int) and 2 <= steps <= 8


def test_no_combination_is_trained_twice_and_the_search_ends_with_the_last_one():
    small = SearchSpace("small", (Varied("T", low=2, high=4, whole=True), METHOD))
    trials: list[SearchTrial] = []
    while (values := propose(small, trials, len(trials) + 1)) is not None:
        trials.append(SearchTrial(len(trials) + 1, values, TrialState.COMPLETED, 0.5))
    found = [tuple(trial.values.values()) for trial in trials]
    assert sorted(found, key=str) == sorted(itertools.product((2, 3, 4), METHOD.values), key=str)


def test_a_combination_that_is_refused_is_not_proposed():
    first = propose(SPACE, [], 1)
    second = propose(SPACE, [], 1, [first])
    assert second not in (None, first)
    assert propose(SPACE, [], 1, [first]) == second


def test_live_trials_are_seen_so_that_two_at_a_time_are_not_alike(whole):
    trials = whole[""][:12]
    live = [*trials, SearchTrial(13, whole[""][12].values)]
    second = propose(SearchSpace("s", SPACE.settings), live, 14)
    assert second not in (None, whole[""][12].values)


def test_it_prunes_what_optuna_itself_prunes_in_a_study_that_is_never_rebuilt(whole):
    study = optuna.create_study(study_name="s", direction="maximize", pruner=optuna.pruners.MedianPruner())
    pruned = 0
    for trial in whole["median"]:
        study.enqueue_trial(trial.values)
        asked = study.ask()
        values = {
            LR.key: asked.suggest_float(LR.key, 0.001, 1.0, log=True),
            STEPS.key: asked.suggest_int(STEPS.key, 2, 8),
            METHOD.key: asked.suggest_categorical(METHOD.key, METHOD.values),
        }
        for epoch, score in curve(values).items():
            asked.report(score, epoch)
            if asked.should_prune() and epoch < EPOCHS:
                assert trial.state is TrialState.PRUNED and epoch <= max(trial.scores) <= epoch + 2
                study.tell(asked, state=optuna.trial.TrialState.PRUNED)
                pruned += 1
                break
        else:
            assert trial.state is TrialState.COMPLETED
            study.tell(asked, top1(values))
    assert 3 < pruned < len(whole["median"])


def test_it_prunes_nothing_before_five_trials_have_completed():
    space = SearchSpace("s", SPACE.settings, "median", EPOCHS)
    good = {LR.key: 0.05, STEPS.key: 8, METHOD.key: "bptt"}
    done = [SearchTrial(n, good, TrialState.COMPLETED, top1(good), curve(good)) for n in range(1, 6)]
    bad = SearchTrial(6, {**good, LR.key: 1.0}, scores={1: 0.0})
    assert pruned_after(space, [*done[1:], bad], 6) is None
    assert pruned_after(space, [*done, bad], 6) == 1


def test_what_a_run_did_after_it_was_pruned_does_not_count(whole):
    space = SearchSpace("s", SPACE.settings, "median", EPOCHS)
    trials = whole["median"]
    pruned = [trial.state is TrialState.PRUNED for trial in trials]
    longer = [replace(one, scores=curve(one.values)) if was else one for one, was in zip(trials, pruned, strict=True)]
    assert longer != trials
    for number in (12, 18, 24):
        assert propose(space, longer, number) == propose(space, trials, number)


def test_a_trial_that_diverged_counts_as_the_worst_and_one_that_failed_not_at_all(whole):
    space = SearchSpace("s", SPACE.settings)
    failed = [SearchTrial(one.number, one.values, TrialState.FAILED) for one in whole[""][:12]]
    diverged = [
        SearchTrial(one.number, one.values, TrialState.DIVERGED) if float(one.values["optim.lr"]) > 0.01 else one
        for one in whole[""][:12]
    ]
    nothing_known = [propose(space, failed[:count], 13) for count in (0, 12)]
    assert nothing_known[0] == nothing_known[1]
    rates = [propose(SearchSpace(f"s{seed}", SPACE.settings), diverged, 13) for seed in range(10)]
    assert sum(float(values["optim.lr"]) <= 0.01 for values in rates if values) > 5


def test_without_optuna_one_message_has_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RunError, match=r"needs the package optuna: pip install 'rbp-tui\[sweep\]'"):
        propose(SPACE, [], 1)
