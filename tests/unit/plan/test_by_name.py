"""A sweep is what its runs say: those that carry its name, with the settings in which they differ."""

import shutil

import pytest

from rbp_engine.plan.states import Standing, read_sweep
from rbp_engine.preset import load_preset
from rbp_engine.report.sweep_table import sweep_rows
from rbp_engine.run.files.layout import read_json, write_json
from rbp_engine.run.files.run_json import SweepRecord
from rbp_engine.run.launch import launch
from rbp_engine.run.store.store import list_runs


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
