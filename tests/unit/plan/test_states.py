"""Where each point of a sweep stands, and what the rest takes."""

import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest

from rbp_engine.plan.estimate import Price, estimate, kind_of, known_prices, unpriced
from rbp_engine.plan.points import plan_sweep
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.states import Standing, read_sweep, states_of
from rbp_engine.preset import LoadedPreset, load_preset
from rbp_engine.report.sweep_table import best_row, sweep_rows
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.events import Scores
from rbp_engine.run.files.layout import RunDirectory, read_json, write_json
from rbp_engine.run.files.run_json import Resources, SweepRecord
from rbp_engine.run.files.summary import load_summary, write_status, write_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_engine.run.store.store import list_runs
from tests.run_files import change_identity, change_summary, write_attempt

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
        ("stopped", Cause.PRUNED, Standing.DONE, Standing.DONE),
        ("stopped", Cause.BUDGET, Standing.DONE, Standing.DONE),
        ("stopped", Cause.REQUEST, Standing.RESUMABLE, Standing.RESUMABLE),
        ("killed", Cause.REQUEST, Standing.RESUMABLE, Standing.RESUMABLE),
        ("failed", Cause.OUT_OF_MEMORY, Standing.FAILED, Standing.RESUMABLE),
        ("queued", Cause.UNKNOWN, Standing.LIVE, Standing.LIVE),
    ],
)
def test_what_is_to_be_done_follows_from_the_status_and_its_cause(plan, make, status, cause, standing, retried):
    make(plan.points[0].loaded, status, cause)
    assert [state.standing for state in states_of(plan)] == [standing] + 3 * [Standing.MISSING]
    assert states_of(plan, retry_failed=True)[0].standing == retried


def test_runs_of_another_sweep_and_of_none_are_done_too(plan, make, runs):
    create(runs, "job", 7, "T=4", "epochs=10", "seed=2", name="another", top1=0.9)
    make(plan.points[0].loaded, "completed")
    assert [state.standing for state in states_of(plan)] == [Standing.DONE, *2 * [Standing.MISSING], Standing.DONE]


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


def test_a_run_of_two_processes_is_of_a_sweep_of_as_many_unless_statistics_are_synchronised(plan, make):
    def planned(processes, *words):
        options = replace(plan.request.options, resources=Resources(processes))
        return plan_sweep(SweepRequest(LaunchRequest("digits", ("T=2,4", "epochs=10", *words), options, seeds=(1, 2))))

    run = make(plan.points[0].loaded, "completed")
    change_identity(run, resources={"processes": 2})
    assert states_of(plan)[0].standing is Standing.MISSING
    assert states_of(planned(2))[0].record.run == run
    alone, both = planned(1, "train.sync_bn=true"), planned(2, "train.sync_bn=true")
    run = make(alone.points[0].loaded, "completed")
    change_identity(run, resources={"processes": 2})
    assert {states_of(one)[0].record.run for one in (alone, both)} == {run}


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
    assert known_prices(states, processes=2) == {}  # two take another time, and memory of their own
    prices = known_prices(states, processes=1)
    (price,) = prices.values()
    assert price.epoch_s == pytest.approx(7.0) and (price.memory, price.runs) == (1000, 1)
    several = {**prices, **dict.fromkeys(unpriced(states, prices), price)}
    assert estimate(states, several, slots=1).origins == ("2 runs of it",)
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


# A sweep by its name is what its runs say: those that carry it, with the settings in which they differ.


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def create(runs, run_id, trial, *words, name="mine", top1=None):
    run = launch.create(load_preset("digits", words), runs, run_id=run_id, sweep=SweepRecord(name, trial))
    if top1 is not None:
        done = {"status": "completed", "last": {"top1": top1}, "best": {"top1": top1}}
        write_json(run.summary_json, read_json(run.summary_json) | done)
    return run


def table(runs, name="mine"):
    plan, states = read_sweep(name, runs, list_runs(runs))
    return plan, sweep_rows(plan, states)


def test_the_runs_of_a_name_make_a_row_for_each_trial_over_its_seeds(runs):
    for trial, timesteps in ((1, 2), (2, 4)):
        for seed in (1, 2):
            top1 = None if (trial, seed) == (2, 2) else 0.5 + timesteps / 10 + seed / 100
            create(runs, f"r{trial}{seed}", trial, f"T={timesteps}", f"seed={seed}", top1=top1)
    create(runs, "other", 1, "T=6", name="other", top1=0.99)
    launch.create(load_preset("digits"), runs, run_id="of-none")
    plan, rows = table(runs)
    assert plan.keys == ("method.timesteps",)
    assert [(row.trial, row.values["method.timesteps"], row.done) for row in rows] == [(1, "2", 2), (2, "4", 1)]
    assert rows[0].last.mean == pytest.approx(0.715)
    assert [state.standing for state in rows[1].states] == [Standing.DONE, Standing.LIVE]


def test_a_seed_with_two_runs_counts_once(runs):
    for run_id, seed, top1 in (("a", 1, 0.5), ("b", 1, 0.7), ("c", 2, 0.9)):
        create(runs, run_id, 1, f"seed={seed}", top1=top1)
    [row] = table(runs)[1]
    assert (row.last.count, row.last.mean) == (2, pytest.approx(0.8))


def test_two_sweeps_of_one_name_are_numbered_anew(runs):
    create(runs, "a", 1, "T=2")
    create(runs, "b", 1, "method=bptt")
    create(runs, "c", 2, "T=6")
    _, rows = table(runs)
    assert [row.trial for row in rows] == [1, 2, 3]
    assert len({tuple(row.values.values()) for row in rows}) == 3


def test_a_run_that_cannot_be_read_is_left_out_and_one_that_is_gone_leaves_the_table(runs):
    for trial in (1, 2, 3):
        create(runs, f"r{trial}", trial, f"T={trial}")
    (runs / "r1" / "preset.toml").write_text("[")
    (runs / "r2" / "run.json").write_text("{")
    assert [row.trial for row in table(runs)[1]] == [3]
    shutil.rmtree(runs / "r3")
    assert table(runs)[1] == []


def test_files_that_never_change_are_read_once(runs):
    run = create(runs, "r1", 1, "T=2")
    records = list_runs(runs)
    first = read_sweep("mine", runs, records)
    run.preset_toml.unlink()
    assert read_sweep("mine", runs, records) == first
