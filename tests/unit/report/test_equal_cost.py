"""What experiments reach at equal cost: no value is made up, and budgets are the same for all runs of a seed."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.report.compare import compare
from rbp_engine.report.equal_cost import at_epoch, budgets, by_time, equal_cost, read_top1
from rbp_engine.run.files.events import Metrics, RunStart, Validation
from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history_reader import read_history
from rbp_engine.run.writer import EventWriter
from rbp_tui.text.equal_cost_text import equal_cost_columns, equal_cost_plain, equal_cost_text

GIB = 2**30


def curve(epochs: Sequence[float], seconds: Sequence[float], top1: Sequence[float] | None = None) -> Curve:
    places = np.array(epochs, float)
    return Curve(20 * places, places, np.array(seconds, float), places if top1 is None else np.array(top1, float))


@st.composite
def curves(draw: st.DrawFn) -> dict[int, Curve]:
    """The runs of an experiment: of some seeds, each with some epochs and how long they took."""
    found = {}
    for seed in draw(st.sets(st.integers(1, 4))):
        epochs = sorted(draw(st.sets(st.integers(1, 6), min_size=1)))
        pace = draw(st.floats(0.5, 9.0))
        found[seed] = curve(epochs, [pace * epoch for epoch in epochs])
    return found


@given(curves(), st.lists(curves(), max_size=3))
def test_a_budget_is_the_largest_that_all_runs_of_the_seed_can_meet(baseline, others):
    groups = [baseline, *others]
    epochs, seconds = budgets(baseline, groups)
    assert set(seconds) == {seed for seed in baseline if any(seed in other for other in others)}
    assert set(epochs) <= set(seconds)
    for seed, budget in seconds.items():
        beside = [known[seed] for known in groups if seed in known]
        done = [one for one in beside if one.seconds[-1] <= budget]
        assert done and all(one.seconds[-1] >= budget for one in beside)
        assert all(by_time(one, budget) == one.value[-1] for one in done)
        met = [epoch for epoch in range(1, 7) if all(at_epoch(one, epoch) is not None for one in beside)]
        assert epochs.get(seed) == (met[-1] if met else None)


@given(curves(), st.floats(0, 60))
def test_what_is_reached_by_a_time_is_the_newest_validation_not_after_it(known, time):
    for one in known.values():
        before = [top1 for second, top1 in zip(one.seconds, one.value, strict=True) if second <= time]
        assert by_time(one, time) == (before[-1] if before else None)


BPTT, RATE, LONG = ("method=bptt",), ("method=rate_m",), ("method=bptt", "T=8")


@pytest.fixture
def found(finish_run):
    """BPTT, the baseline, takes 4 s an epoch; rate_m takes 2 s and less memory; T=8 takes 5 s and more memory.

    Rate_m has lost its last epoch of seed 2, and has a third seed, which no other has.
    """
    made, curves = [], {}
    for words, pace, peak, tops in (
        (BPTT, 4.0, 2 * GIB, {1: (0.5, 0.7, 0.9), 2: (0.6, 0.7, 0.8)}),
        (RATE, 2.0, GIB, {1: (0.4, 0.8, 0.86), 2: (0.5, 0.76, np.nan), 3: (0.1, 0.1, 0.1)}),
        (LONG, 5.0, 3 * GIB, {1: (0.3, 0.95, 0.97), 2: (0.4, 0.9, 0.98)}),
    ):
        for seed, top1 in tops.items():
            reached = np.nan_to_num(top1, nan=0.77).tolist()
            run = finish_run("digits", *words, f"seed={seed}", curve=reached, peak=peak, timed=True)
            made.append(run)
            curves[run.id] = curve((1, 2, 3), (pace, 2 * pace, 3 * pace), top1)
    comparison = compare(made)
    return comparison, equal_cost(comparison, curves.get)


def test_equal_epochs_are_the_last_that_all_runs_of_a_seed_have_validated(found):
    _, equal = found
    bptt, rate, _ = equal.after_epochs
    assert equal.epochs == (2, 3)  # of seed 2, and of seed 1
    assert bptt.top1.mean == pytest.approx((0.9 + 0.7) / 2) and bptt.difference is None
    assert rate.difference.count == 2
    assert rate.difference.mean == pytest.approx((-0.04 + 0.06) / 2)
    # Two differences that are 0.1 apart: t (12.7) × deviation (0.1 / √2) / √2.
    assert rate.difference.interval == pytest.approx(12.7062 * 0.1 / 2, rel=1e-4)


def test_equal_time_is_when_the_fastest_run_of_a_seed_was_done(found):
    _, equal = found
    bptt, rate, late = equal.in_time
    assert equal.seconds == (4.0, 6.0)  # of rate_m's seed 2, whose last epoch is lost, and of its seed 1
    assert bptt.top1.mean == pytest.approx((0.5 + 0.6) / 2)  # after one epoch each
    assert rate.difference.mean == pytest.approx(((0.86 - 0.5) + (0.76 - 0.6)) / 2)
    assert late.difference.count == 1  # its seed 2 has nothing after 4 s
    assert late.difference.mean == pytest.approx(0.3 - 0.5)


def test_an_import_whose_log_was_written_at_once_is_not_the_fastest(found, finish_run):
    comparison, _ = found
    written = finish_run("digits", "T=2", "seed=1", curve=(0.5, 0.6, 0.7))
    runs = [one.run for group in comparison.groups for one in group.counting]
    curves = {run.id: read_top1(run) for run in (*runs, written)}
    assert curves[written.id].seconds[-1] < 4.0
    whole = equal_cost(compare([*runs, written]), curves.get)
    assert whole.seconds == equal_cost(comparison, curves.get).seconds
    assert whole.in_time[-1].top1 is None and whole.after_epochs[-1].top1.count == 1


def test_within_the_memory_of_the_baseline_an_experiment_reaches_all_or_nothing(found):
    _, equal = found
    bptt, rate, late = equal.in_memory
    assert (equal.memory, equal.memory_needed) == (2 * GIB, (1.0, 0.5, 1.5))
    assert bptt.top1.mean == pytest.approx((0.9 + 0.8) / 2)
    assert (rate.top1.mean, rate.top1.count) == (pytest.approx((0.86 + 0.76) / 2), 2)  # as n says: without seed 3
    assert rate.difference.mean == pytest.approx((-0.04 - 0.04) / 2)
    assert late.top1 is None and late.difference is None


def test_the_table_fits_says_what_the_budgets_are(found):
    for width in (40, 75, 80, 120):
        shown = equal_cost_text(*found, width)
        assert all(len(line) <= width for line in shown.whole.plain.split("\n"))
        below = " ".join(shown.below.plain.split())
        assert "epoch 2–3: the last that all of a seed have validated" in below and "4s–6s: when the fastest" in below
        assert "2.0 GiB: the baseline's peak" in below
    assert "needs 1.5×" in shown.groups[2].plain
    comparison, equal = found
    (counted,) = [column for column in equal_cost_columns(comparison, equal) if column.heading == "n"]
    assert list(counted.cells) == ["2", "2", "2"]  # also of T=8, whose seed 2 has nothing after 4 s
    (timed,) = [column for column in equal_cost_columns(comparison, equal) if column.heading.startswith("4s")]
    assert list(timed.cells) == ["55.00", "81.00", "30.00 n=1"]


def test_what_does_not_fit_is_not_said_to_need_what_does(found):
    comparison, equal = found
    shown = equal_cost_text(comparison, replace(equal, memory_needed=(1.0, 0.5, 1.0103)), 120)
    assert "or 1 % more" in shown.below.plain and "needs 1.02×" in shown.groups[2].plain


def test_json_has_budgets_and_what_is_reached_in_the_order_of_the_groups(found):
    plain = equal_cost_plain(found[1])
    assert plain["epochs"]["budget"] == (2, 3) and plain["time"]["budget"] == (4.0, 6.0)
    assert [group["needed"] for group in plain["memory"]["groups"]] == [1.0, 0.5, 1.5]
    assert plain["time"]["groups"][1]["difference"]["mean"] == pytest.approx(0.26)
    assert plain["memory"]["groups"][2]["top1"] is None


def test_experiments_without_a_common_seed_have_no_equal_cost(finish_run):
    runs = [finish_run("digits", "seed=1"), finish_run("digits", "T=6", "seed=2")]
    comparison = compare(runs)
    equal = equal_cost(comparison, {run.id: read_top1(run) for run in runs}.get)
    assert (equal.epochs, equal.seconds) == (None, None)
    below = " ".join(equal_cost_text(comparison, equal, 60).below.plain.split())
    assert "no seed of the baseline has been validated in another experiment" in below


@pytest.mark.parametrize("pauses", [0, 2])
def test_the_time_of_a_validation_is_without_the_pauses_between_attempts(finish_run, pauses):
    run = finish_run("digits", curve=(0.5,))
    run.events().unlink()
    t, epoch = 1000.0, 0
    for attempt in range(1, pauses + 2):
        events = EventWriter(run.events(), attempt)
        events.write(RunStart(steps_per_epoch=20, epochs=9, epoch=epoch), 20 * epoch, t)
        for _ in range(2):
            t, epoch = t + 5.0, epoch + 1
            events.write(Validation(epoch, 1.0, 0.1 * epoch, None, 9), 20 * epoch, t)
        events.write(Metrics(epoch, 1.0, 0.5, 0.1), 20 * epoch + 10, t + 2.0)  # lost, but it has taken time
        events.close()
        t += 102.0
    read = read_top1(run)
    assert read.seconds.tolist() == [5.0 * (place + 1) + 2.0 * (place // 2) for place in range(2 * pauses + 2)]
    assert read.seconds.tolist() == read_history(run).curves["validation/top1"].seconds.tolist()


def test_each_run_is_measured_against_the_newest_of_the_baseline_with_its_seed(finish_run):
    old, new, other = (
        finish_run("digits", *words, curve=(0.1, top1), created=created)
        for words, top1, created in (((), 0.5, 1.0), ((), 0.6, 2.0), (("T=6",), 0.9, 3.0))
    )
    comparison = compare([old, new, other], each_run=True)
    equal = equal_cost(comparison, {run.id: read_top1(run) for run in (old, new, other)}.get)
    difference = equal.after_epochs[2].difference
    assert equal.epochs == (2, 2) and difference is not None and difference.mean == pytest.approx(0.3)
