"""Schedules against PyTorch's, and what each promises, over random settings."""

import warnings
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler

from rbp_engine.errors import SettingsError
from rbp_engine.preset.schema import Preset
from rbp_engine.preset.sections.training import OptimSection
from rbp_engine.train.build import build_schedule
from rbp_engine.train.schedule import Schedule
from rbp_engine.vocabulary import ScheduleName

LR = st.floats(1e-6, 10.0)
# Shares of `lr` that a cosine falls to.
SHARE = st.just(0.0) | st.floats(0.0, 1.0)
OTHERS: dict[str, dict[str, Any]] = {"multistep": {"milestones": [2, 5]}, "restarts": {"restart_epochs": 3}}


def pytorchs(lr: float, count: int, make: Callable[[Any], Any]) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=lr)
    scheduler, rates = make(optimizer), []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        with warnings.catch_warnings():  # the schedule takes steps without optimizer steps in between
            warnings.simplefilter("ignore")
            scheduler.step()
    return rates


def scheduled(lr: float, epochs: int, name: ScheduleName, steps_per_epoch: int = 0, **others: Any) -> Schedule:
    return Schedule(OptimSection.model_construct(lr=lr, schedule=name, **others), epochs, steps_per_epoch)


def by_epoch(schedule: Schedule, count: int) -> list[float]:
    return [schedule(epoch, 7 * epoch + 3) for epoch in range(count)]


def by_step(schedule: Schedule, count: int) -> list[float]:
    return [schedule(step // schedule.steps_per_epoch, step) for step in range(count)]


MILESTONES = st.lists(st.integers(1, 40), unique=True, min_size=1, max_size=5)


@given(LR, SHARE, st.integers(1, 60), MILESTONES, st.floats(0.01, 1.0), st.integers(1, 9), st.integers(1, 3))
def test_schedules_are_pytorchs(lr, share, epochs, milestones, gamma, first, mult):
    milestones, least = sorted(milestones), share * lr
    for ours, theirs in (
        (
            by_epoch(scheduled(lr, epochs, "cosine", lr_min=least), epochs),
            pytorchs(lr, epochs, lambda o: lr_scheduler.CosineAnnealingLR(o, epochs, eta_min=least)),
        ),
        (
            by_step(scheduled(lr, epochs, "cosine", first, lr_min=least), epochs * first),
            pytorchs(lr, epochs * first, lambda o: lr_scheduler.CosineAnnealingLR(o, epochs * first, eta_min=least)),
        ),
        (
            by_epoch(scheduled(lr, 45, "multistep", milestones=milestones, gamma=gamma), 45),
            pytorchs(lr, 45, lambda o: lr_scheduler.MultiStepLR(o, milestones, gamma)),
        ),
        (
            by_epoch(scheduled(lr, 45, "restarts", lr_min=least, restart_epochs=first, restart_mult=mult), 45),
            pytorchs(lr, 45, lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, first, T_mult=mult, eta_min=least)),
        ),
    ):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-12)


@given(LR, SHARE, st.integers(2, 300), st.data())
def test_cosine_falls_from_lr_to_its_minimum_after_the_last_epoch(lr, share, epochs, data):
    warmup, least = data.draw(st.integers(0, epochs - 1)), share * lr
    rates = by_epoch(scheduled(lr, epochs, "cosine", warmup_epochs=warmup, lr_min=least), epochs + 1)
    assert rates[warmup] == pytest.approx(lr, rel=1e-12) and max(rates) <= lr * (1 + 1e-12)
    assert all(later <= earlier for earlier, later in zip(rates[warmup:], rates[warmup + 1 :], strict=False))
    assert rates[-1] == pytest.approx(least, abs=1e-12 * lr) and min(rates[warmup:]) >= least


@given(LR, st.integers(1, 50), st.sampled_from(get_args(ScheduleName)))
def test_the_warm_up_rises_linearly_from_above_zero_to_lr(lr, warmup, name):
    others = OTHERS.get(name, {}) | ({"milestones": [warmup + 1]} if name == "multistep" else {})
    for rates in (
        by_epoch(scheduled(lr, warmup + 5, name, warmup_epochs=warmup, **others), warmup + 1),
        by_step(scheduled(lr, warmup + 5, name, 3, warmup_steps=warmup, **others), warmup + 1),
        by_step(scheduled(lr, warmup + 5, name, 3, warmup_epochs=warmup, **others), 3 * warmup + 1),
    ):
        steps = [later - earlier for earlier, later in zip([0.0, *rates], rates, strict=False)]
        assert steps == pytest.approx([lr / len(rates)] * len(steps))
        assert rates[-1] == pytest.approx(lr)


@given(LR, st.integers(1, 9), st.integers(1, 9), st.sampled_from(get_args(ScheduleName)))
def test_by_step_epochs_begin_with_the_rates_of_the_schedule_by_epoch(lr, epochs, per_epoch, name):
    others = OTHERS.get(name, {})
    rates = by_step(scheduled(lr, epochs, name, per_epoch, **others), epochs * per_epoch)
    assert rates[::per_epoch] == pytest.approx(by_epoch(scheduled(lr, epochs, name, **others), epochs))
    if name in ("constant", "multistep"):
        assert rates == [rate for rate in rates[::per_epoch] for _ in range(per_epoch)]


@given(LR, st.integers(1, 9), MILESTONES, st.floats(0.01, 1.0))
def test_milestones_count_from_the_start_of_the_run_and_not_from_the_end_of_a_warm_up(lr, warmup, milestones, gamma):
    steps = {"milestones": sorted(warmup + one for one in milestones), "gamma": gamma}
    plain, warmed = (by_epoch(scheduled(lr, 50, "multistep", warmup_epochs=n, **steps), 50) for n in (0, warmup))
    assert warmed[warmup:] == plain[warmup:]


def test_a_warm_up_as_long_as_the_run_is_refused_where_only_the_worker_knows_how_long_that_is():
    optim = {"schedule_by": "step", "schedule": "constant", "lr": 0.5, "warmup_steps": 10}
    preset = Preset.model_validate({"data": {"name": "fake"}, "optim": optim, "train": {"epochs": 2}})
    with pytest.raises(SettingsError, match=r"optim\.warmup_steps must be fewer than the run's steps \(10\), got 10"):
        build_schedule(preset, 5)
    assert build_schedule(preset, 6)(1, 10) == 0.5


def test_a_warm_up_longer_than_the_run_never_reaches_lr():
    assert by_step(scheduled(1.0, 2, "cosine", 2, warmup_steps=7), 4) == [0.125, 0.25, 0.375, 0.5]


def test_restarts_of_equal_length_take_no_time_after_many():
    assert scheduled(1.0, 10**9, "restarts", restart_epochs=1)(10**9 - 1, 0) == 1.0
