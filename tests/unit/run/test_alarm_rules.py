"""What a rule makes of samples that no recorded run has: few, damaged, recovered, or of two faults at once."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history import History
from rbp_engine.run.history.rules.alarm_rules import RULES, alarms
from rbp_engine.run.history.rules.rule import SUSTAINED
from rbp_engine.run.history.samples import FiringHistory, Floats

LAYERS = ("a", "b", "c", "d")
SAMPLES = 12


def firing(samples: int = SAMPLES, *, silent: float = 0.2, rate: float = 0.2) -> FiringHistory:
    """A network that is well: [N, L] shares and [N, L, 4] rates."""
    shape = (samples, len(LAYERS))
    step = 10.0 * np.arange(1, samples + 1)
    rates = np.full((*shape, 4), rate)
    return FiringHistory(LAYERS, (), step, step / 20, rates, np.full(shape, silent), np.zeros(shape))


def silence(found: FiringHistory, layer: int, first: int, last: int = SAMPLES) -> FiringHistory:
    found.silent[first:last, layer] = 1.0
    found.rates[first:last, layer] = 0.0
    return found


def named(history: History) -> list[tuple[str, str, int]]:
    return [(alarm.rule, alarm.layer, alarm.step) for alarm in alarms(history)]


def curve(values: Floats) -> Curve:
    step = 10.0 * np.arange(1, len(values) + 1)
    return Curve(step, step / 20, step, values)


@pytest.mark.parametrize("count", range(1, SUSTAINED + 2))
def test_a_layer_is_silent_once_it_was_so_in_some_samples_in_a_row(count):
    found = named(History(firing=silence(firing(), 1, SAMPLES - count)))
    assert found == ([("silent", "b", 10 * (SAMPLES - count + 1))] if count >= SUSTAINED else [])


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(1, 3, SAMPLES - 1)], []),  # it fires again
        ([(3, 5), (1, 5)], [("silent", "b", 60)]),  # of two that fall silent at once the first is named
        ([(3, 2), (1, 5)], [("silent", "d", 30), ("silent", "b", 60)]),
    ],
)
def test_each_silent_layer_is_named_that_is_no_consequence_of_an_earlier_one(spans, expected):
    found = firing()
    for span in spans:
        silence(found, *span)
    assert named(History(firing=found)) == expected


def test_advice_on_silent_and_saturated_layers_names_no_batch_norm_that_may_not_be_there():
    fires = firing(rate=1.0)
    fires.saturated[:] = 0.9
    found = [*alarms(History(firing=silence(firing(), 1, 3))), *alarms(History(firing=fires))]
    assert {one.rule for one in found} == {"silent", "saturated"}
    assert not [one for one in found if "batch norm" in f"{one.cause} {one.knob}"]


def test_few_neurons_that_fire_are_no_alarm_where_it_was_so_from_the_start():
    few = firing(silent=0.96, rate=0.01)
    assert named(History(firing=few)) == []
    fewer = firing(silent=0.5, rate=0.01)
    fewer.silent[4:] = 0.96
    assert named(History(firing=fewer)) == [("silent", "a", 50)]


def test_accuracy_and_loss_of_a_network_with_a_silent_layer_are_its_consequences_unless_they_came_before():
    lost = {"train/top1": curve(np.full(100, 0.1)), "train/loss": curve(np.full(100, 9.0))}
    assert [rule for rule, _, _ in named(History(curves=lost, classes=10))] == ["loss"]
    for classes in (0, 1):  # the run does not say how many there are
        assert named(History(curves=lost, classes=classes)) == []
    found = named(History(curves=lost, classes=10, firing=silence(firing(), 1, 0)))
    assert found == [("silent", "b", 10)]
    early = {"train/loss": curve(np.full(SAMPLES, 9.0))}
    found = named(History(curves=early, classes=10, firing=silence(firing(), 1, 4)))
    assert found == [("loss", "", 10), ("silent", "b", 50)]


def test_a_loss_that_has_come_down_again_is_named_while_little_is_learned() -> None:
    """Where a cosine ends, the loss of weights that were driven away is little above that of guessing."""
    for last, top1, rules in ((2.4, 0.1, ["loss"]), (2.1, 0.2, ["loss"]), (1.0, 0.7, [])):
        came_down = curve(np.where(np.arange(SAMPLES) < SAMPLES / 2, 20.0, last))
        curves = {"train/top1": curve(np.full(SAMPLES, top1)), "train/loss": came_down}
        assert [rule for rule, _, _ in named(History(curves=curves, classes=10))] == rules


def test_a_loss_that_grows_in_a_run_with_uneven_rates_is_no_consequence_of_them():
    uneven = firing()
    uneven.rates[:, 2, :3] = 0.0
    lost = {"train/loss": curve(np.where(np.arange(SAMPLES) < 6, 1.0, 9.0))}
    found = named(History(curves=lost, classes=10, method="rate_m", firing=uneven))
    assert found == [("uneven", "c", 10), ("loss", "", 70)]


@pytest.mark.parametrize(
    ("classes", "accuracy", "samples", "alarm"),
    [
        (2, 0.53, 100, True),
        (2, 0.6, 100, False),
        (1000, 0.0012, 100, True),
        (10, 0.1, 8, True),
        (10, 0.1, 7, False),  # not yet three epochs
    ],
)
def test_chance_depends_on_the_number_of_classes_and_is_judged_after_three_epochs(classes, accuracy, samples, alarm):
    found = named(History(curves={"train/top1": curve(np.full(samples, accuracy))}, classes=classes))
    assert [rule for rule, _, _ in found] == ["chance"] * alarm


def test_a_run_that_does_not_say_how_long_an_epoch_is_can_have_alarms():
    found = silence(firing(), 1, 3)
    lost = replace(found, epoch=np.full(SAMPLES, np.nan))
    accuracy = curve(np.full(100, 0.1))
    without = {"train/top1": replace(accuracy, epoch=np.full(100, np.nan))}
    assert named(History(firing=lost, curves=without, classes=10)) == [("silent", "b", 40)]


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 1)


@given(st.data(), st.integers(1, 6), st.integers(0, 3), st.integers(1, 4))
def test_whatever_the_numbers_are_rules_judge_them(data, samples, layers, steps):
    def array(*shape: int) -> Floats:
        size = int(np.prod(shape))
        return np.array(data.draw(st.lists(numbers, min_size=size, max_size=size)), dtype=float).reshape(shape)

    step = np.arange(1.0, samples + 1)
    names = LAYERS[:layers]
    found = FiringHistory(
        names, (), step, step, array(samples, layers, steps), array(samples, layers), array(samples, layers)
    )
    curves = {name: Curve(step, step, step, array(samples)) for name in ("train/loss", "train/top1")}
    for alarm in alarms(History(firing=found, curves=curves, classes=3, method="rate_m")):
        assert alarm.rule in {rule.name for rule in RULES}
        assert alarm.layer in (*names, "")
        assert 1 <= alarm.step <= samples - SUSTAINED + 1
