"""What probes sampled over training, folded from events."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.printable import one_line
from rbp_engine.run.files.events import Body, Event, FiringRates, Health, Probe, RunStart, Validation
from rbp_engine.run.history import samples
from rbp_engine.run.history.history import HistoryBuilder
from rbp_engine.run.history.samples import AccuracyHistory, FiringHistory, OwnBuilder, SampleBuilder

START = RunStart(steps_per_epoch=10, neuron_layers=["a", "b"])


def event(step: int, body: Body, attempt: int = 1) -> Event:
    return Event(step, float(step), attempt, 0, step, body)


def sample(rate: float) -> FiringRates:
    return FiringRates([[rate, rate, rate], [0.5, 0.5, 0.5]], [0.25, 0.0], [0.0, rate])


def folded(*events: Event) -> SampleBuilder[FiringHistory]:
    builder = HistoryBuilder()._by_kind[FiringRates]
    for one in events:
        builder.add(one)
    return builder


def test_samples_are_arrays_by_step_layer_and_timestep():
    found = folded(event(0, START), event(10, sample(0.1)), event(20, sample(0.2))).history()
    assert found.neuron_layers == ("a", "b")
    assert found.epoch.tolist() == [1.0, 2.0]
    assert found.rates.shape == (2, 2, 3) and found.rates[1, 0].tolist() == [0.2] * 3
    assert found.silent.tolist() == [[0.25, 0.0]] * 2
    assert found.saturated[:, 1].tolist() == [0.1, 0.2]
    assert found.at(14) == 0 and found.at(400) == 1
    assert folded(event(0, RunStart())).history() is None


def test_a_resume_drops_the_samples_that_it_repeats():
    builder = folded(event(0, START), event(10, sample(0.1)), event(20, sample(0.2)), event(10, START, 2))
    builder.add(event(20, sample(0.3), 2))
    found = builder.history()
    assert found.step.tolist() == [10.0, 20.0]
    assert found.rates[1, 0, 0] == 0.3


def test_a_resume_by_an_older_version_keeps_the_layers_and_one_with_other_layers_keeps_no_sample():
    builder = folded(event(0, START), event(10, sample(0.1)), event(10, RunStart(), 2))
    found = builder.history()
    assert found.neuron_layers == ("a", "b") and found.rates.shape == (1, 2, 3)
    builder.add(event(10, RunStart(neuron_layers=["a"]), 3))
    assert builder.history() is None


@pytest.mark.parametrize(
    "damaged",
    [
        FiringRates([[0.1, 0.1, 0.1]], [0.0], [0.0]),
        FiringRates([[0.1], [0.1, 0.1]], [0.0, 0.0], [0.0, 0.0]),
        FiringRates([["x"], ["y"]], [0.0, 0.0], [0.0, 0.0]),
        FiringRates([], [], []),
        FiringRates([[0.1] * 3] * 2, [0.0], [0.0, 0.0]),
        FiringRates([0.1, 0.1], [0.0, 0.0], [0.0, 0.0]),
        FiringRates([[[0.1]], [[0.1]]], [0.0, 0.0], [0.0, 0.0]),
        FiringRates([[], []], [0.0, 0.0], [0.0, 0.0]),
        FiringRates([[0.1] * 3] * 2, [0.0, 10**400], [0.0, 0.0]),
    ],
)
def test_a_damaged_sample_is_left_out_before_and_after_a_good_one(damaged):
    found = folded(event(0, START), event(10, damaged), event(20, sample(0.1)), event(30, damaged)).history()
    assert found.step.tolist() == [20.0]


def test_health_is_by_neuron_layer_and_by_weight_layer_and_null_is_not_known():
    builder = HistoryBuilder()._by_kind[Health]
    builder.add(event(0, RunStart(steps_per_epoch=10, neuron_layers=["a"], weight_layers=["v", "w"])))
    builder.add(event(10, Health([0.2], [[0.1, 0.2, 0.3, 0.4, 0.5]], [1.0, None], [None, 2.0])))
    builder.add(event(20, Health([None], [[None] * 5], [1.0, 2.0], [1.0, 2.0])))
    builder.add(event(30, Health([0.2], [[0.1]], [1.0, 2.0], [1.0, 2.0])))  # damaged
    found = builder.history()
    assert found.step.tolist() == [10.0, 20.0]
    assert found.eligibility.shape == (2, 1, 5) and found.eligibility[0, 0, 4] == 0.5
    assert np.isnan(found.in_window[1, 0]) and np.isnan(found.gradient_norm[0, 1]) and found.update_ratio[0, 1] == 2.0


def test_own_metrics_are_columns_and_steps_are_rows():
    builder = OwnBuilder()
    builder.add(event(10, Probe("a", "text")))
    builder.add(event(10, Probe("b", 10**400)))
    assert builder.history() is None, "there are no numbers yet"
    for step, name, value in ((10, "a", 1), (10, "b", 2.5), (20, "a", None), (30, "b", 3.0), (30, "b", [1.0])):
        builder.add(event(step, Probe(name, value)))
    builder.add(event(20, START, 2))
    builder.add(event(30, Probe("b", 4.0), 2))
    builder.add(event(30, Probe("flag", True), 2))
    found = builder.history()
    assert found.names == ("a", "b")
    assert found.step.tolist() == [10.0, 20.0, 30.0] and found.epoch.tolist() == [1.0, 2.0, 3.0]
    assert np.array_equal(found.values, [[1.0, 2.5], [math.nan, math.nan], [math.nan, 4.0]], equal_nan=True)


@given(st.integers(1, 400))
def test_own_metrics_of_long_runs_cover_all_of_training(count):
    samples.SAMPLES_KEPT, before = 50, samples.SAMPLES_KEPT
    try:
        builder = OwnBuilder()
        for step in range(1, count + 1):
            builder.add(event(step, Probe("a", step)))
            builder.add(event(step, Probe("b", -step)))
    finally:
        samples.SAMPLES_KEPT = before
    found = builder.history()
    assert 0 < len(found.step) <= 50
    assert np.array_equal(found.values, np.stack([found.step, -found.step], axis=1))
    gap = max(1, count // 12)
    assert found.step[0] <= gap and count - found.step[-1] <= gap


def validation(epoch: int, top1_by_step: Any, split: str = "held-out", weights: str = "last") -> Validation:
    return Validation(epoch, 0.1, 0.9, 1.0, 360, one_line(split), one_line(weights), top1_by_step)


def accuracy(*events: Event) -> AccuracyHistory | None:
    builder = HistoryBuilder()
    builder.add(events)
    return builder.history().accuracy


def test_the_accuracy_after_each_timestep_has_a_row_for_each_epoch_and_the_final_test_none():
    found = accuracy(
        event(0, RunStart(steps_per_epoch=10)),
        event(10, validation(1, [0.5, 0.8])),
        event(20, validation(2, [0.7, 0.9])),
        event(20, validation(2, [0.1, 0.1], "test")),
        event(20, validation(2, [0.2, 0.2], "test", "best")),
    )
    assert found.top1_by_step.tolist() == [[0.5, 0.8], [0.7, 0.9]]
    assert found.step.tolist() == [10.0, 20.0] and found.epoch.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("damaged", [None, [], ["x"], [[0.1]], [0.1, 0.2, 0.3], [0.1, 10**400]])
def test_damaged_evaluations_and_those_of_another_t_are_left_out(damaged):
    found = accuracy(event(10, validation(1, [0.5, 0.8])), event(20, validation(2, damaged)))
    assert found.top1_by_step.tolist() == [[0.5, 0.8]]
    assert accuracy(event(10, validation(1, None))) is None
