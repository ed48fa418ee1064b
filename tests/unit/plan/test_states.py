"""Where each point of a sweep stands, and what the rest takes."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from rbp_engine.plan.estimate import Price, estimate, kind_of, known_prices, unpriced
from rbp_engine.plan.points import plan_sweep
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.states import Standing, counts, states_of
from rbp_engine.preset import LoadedPreset
from rbp_engine.report.sweep_table import best_row, sweep_rows
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.events import Scores
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import load_summary, write_status, write_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.options import LaunchOptions
from rbp_engine.run.request import LaunchRequest
from tests.run_files import change_summary, write_attempt

Make = Callable[..., RunDirectory]


@pytest.fixture
def plan(tmp_path):
    request = LaunchRequest("digits", ("T=2,4", "epochs=10"), LaunchOptions(tmp_path / "runs"), seeds=(1, 2))
    return plan_sweep(SweepRequest(request))


@pytest.fixture
def make(tmp_path):
    """Make a run of a preset that has ended in some way."""

    def write(loaded: LoadedPreset, status: str, cause: Cause = Cause.UNKNOWN, **more: object) -> RunDirectory:
        run = launch.create(loaded, tmp_path / "runs")
        summary = load_summary(run)
        write_summary(run, replace(summary, status=status, cause=cause, reason="", **more))
        return run

    return write


@pytest.mark.parametrize(
    ("status", "cause", "standing", "retried"),
    [
        ("completed", Cause.UNKNOWN, Standing.DONE, Standing.DONE),
        ("completed", Cause.EARLY_STOP, Standing.DONE, Standing.DONE),
        ("stopped", Cause.PRUNED, Standing.DONE, Standing.DONE),
        ("stopped", Cause.BUDGET, Standing.DONE, Standing.DONE),
        ("stopped", Cause.REQUEST, Standing.RESUMABLE, Standing.RESUMABLE),
        ("preempted", Cause.REQUEST, Standing.RESUMABLE, Standing.RESUMABLE),
        ("killed", Cause.REQUEST, Standing.RESUMABLE, Standing.RESUMABLE),
        ("failed", Cause.OUT_OF_MEMORY, Standing.FAILED, Standing.RESUMABLE),
        ("queued", Cause.UNKNOWN, Standing.LIVE, Standing.LIVE),
        ("starting", Cause.UNKNOWN, Standing.LIVE, Standing.LIVE),
    ],
)
def test_what_is_to_be_done_follows_from_the_status_and_its_cause(plan, make, status, cause, standing, retried):
    make(plan.points[0].loaded, status, cause)
    assert [state.standing for state in states_of(plan)] == [standing] + 3 * [Standing.MISSING]
    assert states_of(plan, retry_failed=True)[0].standing == retried


def test_of_several_runs_of_a_point_the_one_that_is_furthest_counts(plan, make):
    point = plan.points[0]
    make(point.loaded, "failed", Cause.ERROR)
    stopped = make(point.loaded, "stopped", Cause.REQUEST)
    first = states_of(plan)[0].record
    assert first.run == stopped
    completed = make(point.loaded, "completed")
    make(point.loaded, "queued")
    first = states_of(plan)[0].record
    assert first.run == completed


def test_runs_of_another_result_or_seed_do_not_count_and_of_another_cost_do(plan, make):
    for words in (["T=3", "epochs=10"], ["T=2", "epochs=9"], ["T=2", "epochs=10", "seed=3"]):
        make(LaunchRequest("digits", tuple(words)).load(), "completed")
    assert counts(states_of(plan))[Standing.MISSING] == 4
    make(LaunchRequest("digits", ("T=2", "epochs=10", "train.kernel=eager")).load(), "completed")
    assert counts(states_of(plan))[Standing.MISSING] == 3


def test_the_table_has_mean_and_deviation_over_the_seeds_that_are_done(plan, make):
    for point, top1 in zip(plan.points, (0.9, 0.5, 0.8), strict=False):
        make(point.loaded, "completed", last=Scores(top1=top1), best=Scores(top1=top1 + 0.05, epoch=1))
    make(plan.points[3].loaded, "stopped", Cause.REQUEST, last=Scores(top1=0.99))
    rows = sweep_rows(plan, states_of(plan))
    assert [row.values for row in rows] == [{"method.timesteps": "2"}, {"method.timesteps": "4"}]
    assert [row.done for row in rows] == [2, 1]
    assert rows[0].last is not None and rows[0].last.mean == pytest.approx(0.85) and rows[0].last.count == 2
    assert rows[1].last is not None and rows[1].last.mean == 0.5 and rows[1].last.std is None
    assert best_row(rows) == rows[0]


def test_the_rest_is_priced_by_completed_runs_and_else_by_measurements(plan, make):
    states = states_of(plan)
    assert len(unpriced(states, {})) == 2  # by T: seeds cost the same
    now = 1.7e9
    run = make(plan.points[0].loaded, "completed", step=50, steps=50, mem_peak=1000)
    write_attempt(run, t=now)
    change_summary(run, progressed=now + 70.0)
    write_status(run, "completed")  # now: years later
    states = states_of(plan)
    prices = known_prices(states)
    (price,) = prices.values()
    assert price.epoch_s == pytest.approx(7.0) and price.memory == 1000
    (other,) = unpriced(states, prices).values()
    assert other.loaded.preset.method.timesteps == 4
    prices = {kind_of(plan.points[0].loaded): Price(0, 2, 1000, "runs"), kind_of(other.loaded): Price(5, 3, 10, "now")}
    found = estimate(states, prices, slots=2)
    # What is missing: 20 s, and twice 5 + 30 s; on two slots one of these runs alone.
    assert (found.device_s, found.seconds) == (90.0, 55.0)
    assert (found.memory, found.unknown, found.origins) == (1000, 0, ("now", "runs"))
    assert estimate(states, {}, slots=2).unknown == 3


def test_settings_that_only_enter_a_formula_have_one_price():
    base = kind_of(LaunchRequest("digits").load())
    for word in ("lr=0.3", "seed=5", "neuron.decay=0.5", "epochs=3", "run.name=x", "loss.label_smoothing=0.1"):
        assert kind_of(LaunchRequest("digits", (word,)).load()) == base
    for word in ("T=6", "method=bptt", "batch=32", "train.kernel=eager", "data.workers=1"):
        assert kind_of(LaunchRequest("digits", (word,)).load()) != base
