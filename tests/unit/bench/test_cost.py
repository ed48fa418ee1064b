"""Predictions from given measurements, without measuring."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.bench.cost import Cost, predict
from rbp_engine.preset import load_preset
from rbp_tui.text.cost_text import cost_lines, what_fits

GIB = 2**30


def figures(**changes: Any) -> dict[str, Any]:
    """The answer of a complete measurement of digits."""
    whole = {"seconds": 0.02, "data_seconds": 0.002, "steps": 50}
    return {
        "device": "cpu", "limit": 8 * GIB, "data_is_here": True, "data_bytes": 0, "steps": 23, "evaluations": 6,
        "startup_s": 2.0, "whole": whole, "memory_was_full": False, "points": [], "fetching_s": None,
        "evaluation_s": 0.01, "end_s": 0.04, "peak": GIB,
    } | changes  # fmt: skip


def points(fixed: float, image: float, step: float, timesteps: int) -> list[dict[str, float]]:
    """Small steps of one second whose memory lies on a plane."""
    measured = [(2, timesteps), (4, timesteps // 2), (4, timesteps)]
    return [{"batch": b, "timesteps": t, "seconds": 1.0, "peak": fixed + b * (image + t * step)} for b, t in measured]


def in_parts(timesteps: int, limit: float, **changes: Any) -> tuple[Any, dict[str, Any]]:
    """A preset of 100 images, each of which takes 10 MB, and 10 MB more per timestep, on top of 1 GB."""
    preset = load_preset("digits", ["batch=100", f"T={timesteps}"]).preset
    measured = points(1e9, 1e7, 1e7, timesteps)
    return preset, figures(whole=None, points=measured, limit=limit, fetching_s=0.5, **changes)


def test_an_epoch_is_its_steps_one_evaluation_and_one_checkpoint():
    cost = predict(load_preset("digits", ["epochs=10"]).preset, figures())
    assert cost.epoch_s == pytest.approx(23 * 0.02 + 6 * 0.01 + 0.04)
    assert cost.total_s == pytest.approx(2.0 + 10 * cost.epoch_s)
    assert (cost.memory, cost.fits, cost.largest_timesteps) == (GIB, True, 4)
    assert what_fits(cost) == ""
    assert dict(cost_lines(cost))["in all"] == "7.6 s for 10 epochs, including 2.0 s to start"
    averaged = predict(load_preset("digits", ["train.ema=0.99"]).preset, figures())
    assert averaged.epoch_s == pytest.approx(23 * 0.02 + 2 * 6 * 0.01 + 0.04)


@pytest.mark.parametrize(
    ("budget", "trained_s"),
    [("guard.max_steps=46", 2 * 0.56), ("guard.max_time=2s", 2.0), ("guard.max_steps=999", 5.6)],
)
def test_a_budget_ends_it_before_the_epochs_do_if_it_is_smaller(budget, trained_s):
    cost = predict(load_preset("digits", ["epochs=10", budget]).preset, figures())
    assert cost.total_s == pytest.approx(2.0 + trained_s)
    name = budget.partition("=")[0]
    assert (f"until {name} ends it" in dict(cost_lines(cost))["in all"]) == (trained_s < 5.6)


def test_eight_timesteps_do_not_fit_six_do_and_nothing_does_where_the_network_alone_does_not():
    cost = predict(*in_parts(8, limit=8.5e9))
    assert cost.memory == pytest.approx(10e9)
    assert (cost.fits, cost.largest_timesteps, cost.largest_batch) == (False, 6, 83)
    assert what_fits(cost) == ("T = 8 with a batch of 100 does not fit into 7.9 GiB: T = 6 does, or a batch of 83 does")
    nothing = predict(*in_parts(8, limit=0.5e9))
    assert (nothing.largest_timesteps, nothing.largest_batch) == (0, 0)
    assert "not even one image" in what_fits(nothing)


def test_a_batch_in_parts_takes_the_memory_of_one_and_the_time_of_all():
    preset, measured = in_parts(8, limit=3e9)
    train = preset.train.model_copy(update={"accumulate": 5})
    cost = predict(preset.model_copy(update={"train": train}), measured)
    assert cost.memory == pytest.approx(1e9 + 20 * 9e7) and cost.fits
    assert cost.step_s == pytest.approx(5 * 1.0 + 0.5)
    tight = predict(preset.model_copy(update={"train": train}), in_parts(8, limit=2e9)[1])
    assert (tight.fits, tight.largest_timesteps, tight.largest_batch) == (False, 4, 55)


def test_a_step_that_filled_the_memory_does_not_fit_whatever_small_steps_predict():
    cost = predict(*in_parts(8, limit=10.1e9, memory_was_full=True))
    assert (cost.fits, cost.largest_timesteps, cost.largest_batch) == (False, 7, 98)


@given(st.integers(2, 64), st.floats(1e8, 1e11))
def test_the_settings_reported_to_fit_do_fit(timesteps, limit):
    cost = predict(*in_parts(timesteps, limit))
    assert cost.fits == (cost.memory <= limit)
    for changed in (("T", cost.largest_timesteps), ("batch", cost.largest_batch)):
        assert changed[1] is not None
        if changed[1]:
            assert _again(timesteps, limit, *changed).fits
        if not cost.fits:
            assert not _again(timesteps, limit, changed[0], changed[1] + 1).fits


def _again(timesteps: int, limit: float, name: str, value: int) -> Cost:
    preset, measured = in_parts(timesteps, limit)
    section = {"T": ("method", "timesteps"), "batch": ("data", "batch_size")}[name]
    changed = getattr(preset, section[0]).model_copy(update={section[1]: value})
    return predict(preset.model_copy(update={section[0]: changed}), measured)


@pytest.mark.parametrize(("workers", "data_s"), [(0, 30.0), (2, 5.0)])
def test_readers_overlap_with_the_previous_step(workers, data_s):
    preset, measured = in_parts(4, limit=1e12)
    for point in measured["points"]:
        point["seconds"] = 0.25 * point["batch"]
    preset = preset.model_copy(update={"data": preset.data.model_copy(update={"workers": workers})})
    cost = predict(preset, measured | {"fetching_s": 30.0})
    assert (cost.step_s, cost.data_s) == (pytest.approx(25 + data_s), pytest.approx(data_s))
    assert cost.measured == "extrapolated from B = 2 and 4, T = 2 and 4"


def test_missing_data_is_counted_and_noted():
    preset = load_preset("cifar10-resnet18").preset
    cost = predict(preset, figures(data_is_here=False, data_bytes=GIB))
    assert cost.memory == 2 * GIB
    assert cost.notes == ("cifar10 is not here: random images of its shape stand in for it",)
