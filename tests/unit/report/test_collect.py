import pytest

from rbp_engine.report.collect import collect
from rbp_engine.run.files.events import RunEnd
from rbp_engine.run.store.store import run_directories
from tests.run_files import change_summary, tell


@pytest.mark.parametrize(("status", "reason"), [("stopped", "stopped"), ("killed", "killed"), ("running", "lost: ")])
def test_an_incomplete_run_and_one_whose_worker_is_gone_are_left_out_by_name(finish_run, runs, status, reason):
    complete, other = finish_run("digits", "seed=1"), finish_run("digits", "seed=2", status=status)
    change_summary(other, updated=1.0)
    entries, (excluded,) = collect(run_directories(runs))
    assert [entry.run for entry in entries] == [complete]
    assert excluded.id == other.id and excluded.reason.startswith(reason)


@pytest.mark.parametrize("damage", [{"last": {"top1": "0.9"}}, {"created": None}])
def test_a_summary_with_values_of_wrong_types_is_made_anew(finish_run, runs, damage):
    run = finish_run(curve=[0.5, 0.75])
    tell(run, RunEnd("completed", last={"top1": 0.75}, best={"top1": 0.75}), step=20)
    change_summary(run, **damage)
    ((entry,), excluded) = collect(run_directories(runs))
    assert (entry.run, entry.last, entry.best, excluded) == (run, 0.75, 0.75, [])


def test_impossible_accuracies_and_damaged_files_are_left_out_by_name(finish_run, runs):
    torn, odd, broken = (finish_run("digits", f"seed={seed}") for seed in (1, 2, 3))
    torn.run_json.write_text('{"id": "')
    change_summary(odd, best={"top1": 9.1})
    broken.preset_toml.write_text("[optim]\nlrr = 1\n")
    entries, excluded = collect(run_directories(runs))
    reasons = {run.id: run.reason for run in excluded}
    assert entries == []
    assert reasons[torn.id] == "run.json is missing or damaged"
    assert reasons[odd.id] == "its summary.json has impossible numbers"
    assert reasons[broken.id].startswith("preset.toml cannot be read: unknown key")


def test_the_newest_run_of_an_experiment_and_seed_counts_and_the_others_are_named(finish_run, runs):
    old, newest, older = (finish_run(created=created) for created in (2.0, 3.0, 1.0))
    entries, excluded = collect(run_directories(runs))
    assert [entry.run for entry in entries] == [newest]
    assert {run.id for run in excluded} == {old.id, older.id}
    assert {run.reason for run in excluded} == {f"same experiment and seed as {newest.id}, which counts"}


def test_a_run_of_two_processes_takes_no_seeds_place_unless_their_statistics_are_those_of_both(finish_run, runs):
    alone = [finish_run("digits", f"seed={seed}", created=float(seed)) for seed in (1, 2)]
    apart = finish_run("digits", "seed=1", created=3.0, identity={"resources": {"processes": 2}})
    one = finish_run("digits", "seed=1", "train.sync_bn=true", created=4.0)
    shared = finish_run("digits", "seed=1", "train.sync_bn=true", created=5.0, identity={"resources": {"processes": 2}})
    entries, excluded = collect(run_directories(runs))
    assert {entry.run for entry in entries} == {*alone, apart, shared}
    assert [(run.id, run.reason) for run in excluded] == [
        (one.id, f"same experiment and seed as {shared.id}, which counts")
    ]


def test_unfinished_runs_count_on_request_but_never_instead_of_a_complete_one(finish_run, runs):
    complete = finish_run("digits", "seed=1", created=1.0)
    repeated = finish_run("digits", "seed=1", created=2.0, status="stopped")
    unfinished = finish_run("digits", "seed=2", status="stopped")
    entries, excluded = collect(run_directories(runs), include_unfinished=True)
    assert {entry.run.id for entry in entries} == {complete.id, unfinished.id}
    assert [run.id for run in excluded] == [repeated.id]


def test_with_a_held_out_split_only_the_test_set_is_reported(finish_run, runs):
    words = ("train.validation_split=0.1",)
    finish_run("digits", *words, "seed=1", curve=(0.9, 0.99), test={"last": 0.91, "best": 0.92})
    untested = finish_run("digits", *words, "seed=2", curve=(0.9, 0.99), test={}, status="stopped")
    entries, (excluded,) = collect(run_directories(runs), include_unfinished=True)
    assert [(entry.last, entry.best, entry.held_out) for entry in entries] == [(0.91, 0.92, True)]
    assert (excluded.id, excluded.reason) == (untested.id, "stopped, without an accuracy on the test set")
