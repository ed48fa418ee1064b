"""Comparing runs: grouped by experiment, paired by seed."""

import pytest

from rbp_engine.report.cells import make_cells
from rbp_engine.report.collect import collect
from rbp_engine.report.compare import compare
from rbp_engine.run import track
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import list_runs
from tests.run_files import change_fields, change_identity

GIB = 2**30


def test_experiments_are_compared_with_the_baseline_over_common_seeds(finish_run):
    rate = [finish_run("digits", f"seed={seed}", curve=[0.9, top1]) for seed, top1 in ((1, 0.94), (2, 0.95), (3, 0.5))]
    bptt = [
        finish_run("digits", f"seed={seed}", "method=bptt", curve=[top1 + 0.01, top1], timed=True, peak=seed * GIB)
        for seed, top1 in ((1, 0.95), (2, 0.97))
    ]
    found = compare([*rate, *bptt], baseline=bptt[0])
    # Only one run of the baseline was given first, but all of its seeds count.
    theirs, ours = found.groups
    assert (theirs.is_baseline, ours.is_baseline) == (True, False)
    assert [group.title for group in found.groups] == ["digits · BPTT · T=4", "digits · rate_M · T=4"]
    assert theirs.last is not None and theirs.last.mean == pytest.approx(0.96)
    assert theirs.last_difference is None
    assert ours.last.count == 3
    difference = ours.last_difference
    assert (difference.count, difference.mean) == (2, pytest.approx(-0.015))
    assert difference.std == pytest.approx(0.0070711, rel=1e-4)
    best = ours.best_difference
    assert best is not None and best.mean == pytest.approx(((0.94 - 0.96) + (0.95 - 0.98)) / 2)
    assert (theirs.mem_peak, ours.mem_peak) == (2 * GIB, GIB)
    assert theirs.epoch_s == pytest.approx(1.0)  # of 2 epochs in 2 s
    assert [(one.key, one.values) for one in found.differences if one.role == "result"] == [
        ("method.name", ("bptt", "rate_m"))
    ]


def test_a_run_that_its_budget_of_steps_has_ended_takes_as_long_for_an_epoch_as_another(finish_run):
    run = finish_run("digits", "guard.max_steps=30", status="stopped", timed=True, step_s=0.2)
    change_identity(run, epochs=10)
    [group] = compare([run]).groups
    assert group.epoch_s == pytest.approx(2.0)  # 30 steps of 10 an epoch


def test_the_first_run_named_is_the_baseline_unless_another_is(finish_run):
    one, other = finish_run("digits", "T=2"), finish_run("digits", "T=6")
    titles = [group.title for group in compare([one, other]).groups]
    assert titles == ["digits · rate_M · T=2", "digits · rate_M · T=6"]
    assert compare([one, other], baseline=other).groups[0].title == "digits · rate_M · T=6"


def test_without_a_baseline_named_it_is_an_experiment_with_a_completed_run(finish_run):
    stopped = finish_run("digits", "T=2", status="stopped", curve=[0.3])
    half, done = finish_run("digits", "T=6", "seed=2", status="stopped"), finish_run("digits", "T=6")
    for each_run, titles in (
        (False, ["digits · rate_M · T=6", "digits · rate_M · T=2"]),
        (True, [f"digits · rate_M · T={ending}" for ending in ("6 · seed 1", "6 · seed 2", "2 · seed 1")]),
    ):
        found = compare([stopped, half, done], each_run=each_run)
        assert [group.title for group in found.groups] == titles
        assert found.baseline_title == "digits · rate_M · T=6"
    assert compare([stopped, done], baseline=stopped).baseline_title == "digits · rate_M · T=2"
    assert compare([stopped, half]).baseline_title == "digits · rate_M · T=2"


def test_a_title_names_other_differing_settings_if_they_are_few(finish_run):
    found = compare([finish_run("digits", "lr=0.05"), finish_run("digits", "lr=0.2")])
    assert [group.title.split(" · ")[-1] for group in found.groups] == ["optim.lr = 0.05", "optim.lr = 0.2"]
    other = compare([finish_run("digits"), finish_run("digits", "arch=resnet18")])
    titles = [group.title for group in other.groups]
    assert titles == ["digits · rate_M · T=4 · model.name = convnet", "digits · resnet18 · rate_M · T=4"]
    many = compare([finish_run("digits"), finish_run("digits", "lr=1", "batch=8", "epochs=3", "optim.momentum=0.5")])
    assert many.groups[0].title.startswith("digits · rate_M · T=4 · ") and "optim" not in many.groups[0].title
    assert {one.key for one in many.differences} >= {"optim.lr", "data.batch_size", "train.epochs", "optim.momentum"}


def test_runs_that_ended_early_count_only_without_complete_ones(finish_run):
    cost = {"timed": True, "step_s": 0.3, "peak": 2 * GIB}
    early = finish_run("digits", "seed=2", curve=[0.3], status="stopped", **cost)
    (alone,) = compare([early]).groups
    assert alone.last.mean == 0.3 and "stopped at epoch 1" in alone.notes[0]
    (group,) = compare([early, finish_run("digits", "seed=1", curve=[0.9], timed=True)]).groups
    assert (group.last.mean, group.last.count, group.epoch_s, group.mem_peak) == (0.9, 1, 1.0, GIB)
    assert group.notes == ("seed 2 is stopped at epoch 1 of 1, not in the means",)


def test_a_run_that_a_search_has_pruned_is_called_so(finish_run):
    run = finish_run("digits", "seed=2", curve=[0.3], status="stopped", cause="pruned")
    (group,) = compare([run]).groups
    assert group.notes == ("seed 2 is pruned at epoch 1 of 20",)
    (cell,) = make_cells(collect([run], include_unfinished=True)[0])
    assert "seed 2 has not completed: pruned after 1 of 20 epochs" in cell.notes


def test_of_a_log_that_was_imported_twice_the_run_that_was_written_last_counts(finish_run):
    runs = sorted((finish_run("digits", created=1.0) for _ in range(2)), key=lambda run: run.id)
    for order in ((1.0, 2.0), (2.0, 1.0)):
        for run, updated in zip(runs, order, strict=True):
            change_fields(run, updated=updated, last={"top1": updated / 10})
        (group,) = compare(runs).groups
        assert group.last.mean == 0.2


def test_device_and_cost_settings_are_listed_after_the_others(finish_run):
    on_card = finish_run("digits", "T=2", device="NVIDIA H100 (cuda:0)")
    found = compare([on_card, finish_run("digits", "T=6", "train.log_every=3", host="there")])
    roles = {one.key: (one.role, one.values) for one in found.differences}
    assert roles["device"] == ("conditions", ("NVIDIA H100", "cpu"))
    assert roles["train.log_every"][0] == "cost"
    assert next(iter(roles)) == "method.timesteps"


def test_each_run_can_be_compared_with_the_baselines_run_of_the_same_seed(finish_run):
    bptt = [finish_run("digits", f"seed={seed}", "method=bptt", curve=[top1]) for seed, top1 in ((1, 0.9), (2, 0.8))]
    rate = [
        finish_run("digits", f"seed={seed}", curve=[top1], created=created)
        for seed, top1, created in ((1, 0.7, 1.0), (1, 0.75, 2.0), (3, 0.6, 3.0))
    ]
    groups = compare([*bptt, *rate], each_run=True).groups
    assert [group.runs[0].run for group in groups] == [*bptt, *rate]
    assert [group.is_baseline for group in groups] == [True, True, False, False, False]
    differences = [group.last_difference.mean if group.last_difference else None for group in groups]
    assert differences == [None, None, pytest.approx(-0.2), pytest.approx(-0.15), None]
    titles = [group.title for group in groups]
    assert titles[1] == "digits · BPTT · T=4 · seed 2" and len(set(titles)) == 5  # repeated: its id is in its title
    assert compare([*bptt, *rate], each_run=True).excluded == ()
    assert groups[-1].notes[0] == "its difference is unknown: it shares no seed with the baseline"


def test_a_note_names_the_seeds_of_a_difference_that_does_not_cover_all(finish_run):
    runs = [finish_run("digits", "method=bptt", "seed=2"), *(finish_run("digits", f"seed={seed}") for seed in (1, 2))]
    steps = (
        "gradients of rate methods, and so SGD's changes of the weights, are 1/T of BPTT's: "
        "method.loss_scale=1 makes them equal"
    )
    only = "its difference is over seed 2 only, which the baseline has too"
    assert compare(runs).groups[1].notes == (only, steps)
    assert compare(runs[::2]).groups[1].notes == (steps,)


def test_the_scale_of_the_loss_is_none_of_methods_that_ignore_it(finish_run):
    found = compare([finish_run("digits", "method=bptt"), finish_run("digits", "method.loss_scale=1")])
    assert {one.key: one.values for one in found.differences}["method.loss_scale"] == (None, "1")
    assert found.groups[0].title == "digits · BPTT · T=4"


def test_a_difference_to_a_baseline_on_other_data_has_a_note(finish_run):
    one, other = compare([finish_run("digits"), finish_run("moving-digits", "T=4")]).groups
    assert not any("one of data" in note for note in one.notes)
    assert "its difference is one of data: moving_digits, and for the baseline digits" in other.notes


def test_of_runs_of_several_processes_a_note_says_what_their_memory_is(finish_run):
    alone, shared = finish_run("digits"), finish_run("digits", "T=2")
    change_identity(shared, resources={"processes": 2, "nodes": 2})
    assert [group.notes for group in compare([alone, shared]).groups] == [
        (),
        ("memory is that of one of 4 processes",),
    ]


def test_runs_of_several_processes_are_an_experiment_beside_those_of_one(finish_run):
    alone = [finish_run("digits", f"seed={seed}", curve=[0.9]) for seed in (1, 2)]
    apart = finish_run("digits", "seed=1", curve=[0.94], identity={"resources": {"processes": 2}})
    found = compare([*alone, apart])
    assert [(group.title, group.last.count) for group in found.groups] == [
        ("digits · rate_M · T=4", 2),
        ("digits · rate_M · T=4 · processes = 2", 1),
    ]
    assert [(one.key, one.values) for one in found.differences] == [("processes", (1, 2))]
    assert found.excluded == ()


def test_beside_runs_of_rbp_one_of_another_program_differs_in_what_both_have(finish_run, tmp_path):
    ours = [finish_run("digits", f"T={timesteps}") for timesteps in (2, 4)]
    with track({"lr": 0.3, "dropout": 0.2}, runs_dir=tmp_path) as run:
        run.log(test_top1=0.9)
    alone, together = compare(ours), compare([*ours, RunDirectory(run.folder)])
    keys = [one.key for one in alone.differences]
    assert "method.timesteps" in keys
    assert {one.key for one in together.differences} - {*keys, "preset", "host", "device", "python"} == {"optim.lr"}
    assert {*keys} <= {one.key for one in together.differences}
    titles = [group.title for group in together.groups]
    assert "T=2" in titles[0] and not any("not set" in title for title in titles)


def test_programs_differ_in_what_only_one_was_given(tmp_path):
    for given in ({"lr": 0.3}, {"lr": 0.3, "dropout": 0.2}):
        with track(given, runs_dir=tmp_path) as run:
            run.log(test_top1=0.9)
    found = compare([record.run for record in list_runs(tmp_path)])
    assert [one.values for one in found.differences if one.role == "result"] == [(None, 0.2)]


def test_runs_of_another_program_have_the_names_that_they_were_given(tmp_path):
    for name, value in (("theirs", 0.1), ("ours", 0.2)):
        with track({"lr": value}, runs_dir=tmp_path, name=name) as run:
            run.log(test_top1=0.9)
    titles = [group.title for group in compare([record.run for record in list_runs(tmp_path)]).groups]
    assert sorted(titles) == ["ours · optim.lr = 0.2", "theirs · optim.lr = 0.1"]
