"""What probes sampled over training, folded from events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.files.events import Event, FiringRates, RunStart
from rbp_engine.run.status import samples
from rbp_engine.run.status.samples import FiringHistory, SampleBuilder, firing_builder

START = RunStart(steps_per_epoch=10, neuron_layers=["a", "b"])


def event(step: int, body: FiringRates | RunStart, attempt: int = 1) -> Event:
    return Event(step, float(step), attempt, 0, step, body)


def sample(rate: float) -> FiringRates:
    return FiringRates([[rate, rate, rate], [0.5, 0.5, 0.5]], [0.25, 0.0], [0.0, rate])


def folded(*events: Event) -> SampleBuilder[FiringHistory]:
    builder = firing_builder()
    for one in events:
        builder.add(one)
    return builder


def test_samples_are_arrays_by_step_layer_and_timestep() -> None:
    found = folded(event(0, START), event(10, sample(0.1)), event(20, sample(0.2))).history()
    assert found is not None
    assert found.neuron_layers == ("a", "b")
    assert found.epoch.tolist() == [1.0, 2.0]
    assert found.rates.shape == (2, 2, 3) and found.rates[1, 0].tolist() == [0.2] * 3
    assert found.silent.tolist() == [[0.25, 0.0]] * 2
    assert found.saturated[:, 1].tolist() == [0.1, 0.2]
    assert found.at(14) == 0 and found.at(400) == 1


def test_a_resume_drops_the_samples_that_it_repeats() -> None:
    builder = folded(event(0, START), event(10, sample(0.1)), event(20, sample(0.2)), event(10, START, 2))
    builder.add(event(20, sample(0.3), 2))
    found = builder.history()
    assert found is not None and found.step.tolist() == [10.0, 20.0]
    assert found.rates[1, 0, 0] == 0.3


def test_runs_without_samples_have_no_history() -> None:
    assert folded(event(0, RunStart())).history() is None


@pytest.mark.parametrize(
    "damaged",
    [
        FiringRates([[0.1, 0.1, 0.1]], [0.0], [0.0]),
        FiringRates([[0.1], [0.1, 0.1]], [0.0, 0.0], [0.0, 0.0]),
        FiringRates([["x"], ["y"]], [0.0, 0.0], [0.0, 0.0]),  # type: ignore[list-item]
        FiringRates([{}, {}], [0.0, 0.0], [0.0, 0.0]),  # type: ignore[list-item]
        FiringRates([], [], []),
        FiringRates([[0.1] * 3] * 2, [0.0], [0.0, 0.0]),
    ],
)
def test_a_damaged_sample_is_left_out(damaged: FiringRates) -> None:
    found = folded(event(0, START), event(10, sample(0.1)), event(20, damaged)).history()
    assert found is not None and found.step.tolist() == [10.0]


@given(st.integers(0, 3000))
def test_long_runs_keep_samples_of_all_of_training(count: int) -> None:
    samples.SAMPLES_KEPT, before = 50, samples.SAMPLES_KEPT
    try:
        found = folded(event(0, START), *(event(step, sample(0.1)) for step in range(1, count + 1))).history()
    finally:
        samples.SAMPLES_KEPT = before
    if count == 0:
        assert found is None
        return
    assert found is not None and 0 < len(found.step) <= 50
    gap = max(1, count // 12)
    assert found.step[0] <= gap and count - found.step[-1] <= gap
