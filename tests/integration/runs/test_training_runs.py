import math
import shutil
import subprocess
import sys

import pytest
import torch
from idle import IDLE

import rbp_engine
from rbp_engine import os_process
from rbp_engine.data.catalog import catalogued
from rbp_engine.methods import Loss
from rbp_engine.run import control
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.attempts import Asked, AttemptRecord, claim_attempt
from rbp_engine.run.files.events import (
    AlertRaised,
    CheckpointSaved,
    ErrorRaised,
    Metrics,
    RunEnd,
    RunStart,
    System,
    Top1ByWeights,
    Validation,
    WarningRaised,
)
from rbp_engine.run.files.layout import read_json, write_json
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.history.history_reader import read_findings
from rbp_engine.run.launch import launch
from rbp_engine.run.longer import go_on
from rbp_engine.train.checkpoints import checkpoint
from tests.run_files import events_of
from tests.stopping import stop


def test_a_run_records_its_course_from_the_first_step_to_the_end(reference, look):
    start = look.first(reference, RunStart).body
    assert (start.steps_per_epoch, start.epochs, start.epoch, start.resumed_from) == (12, 3, 0, None)
    steps = [(entry["step"], entry["epoch"]) for entry in look.story(reference) if entry["kind"] == "metrics"]
    assert steps == [(5, 0), (10, 0), (15, 1), (20, 1), (25, 2), (30, 2), (35, 2)]
    for body in look.bodies(reference, Metrics):
        assert 0.0 <= body.top1 <= 1.0 and body.loss > 0.0 and body.samples_per_s > 0.0
        assert 0.0 <= body.data_ms <= body.step_ms
    rates = [body.lr for body in look.bodies(reference, Metrics)]
    assert rates == pytest.approx([0.1 * 0.5 * (1 + math.cos(math.pi * epoch / 3)) for _, epoch in steps])
    validations = look.bodies(reference, Validation)
    assert [body.epoch for body in validations] == [1, 2, 3]
    assert {(body.samples, body.split, body.weights) for body in validations} == {(360, "test", "last")}
    assert all(body.top1 <= body.top5 <= 1.0 for body in validations)
    assert validations[-1].top1 > 0.5  # it learns
    assert look.bodies(reference, System)[-1].rss > 0


def test_a_completed_run_has_its_newest_checkpoints_and_the_best_and_nothing_unfinished(reference, look):
    summary = read_summary(reference)
    assert (summary.status, summary.reason) == ("completed", "")
    assert (summary.step, summary.steps, summary.epoch, summary.epochs, summary.attempt) == (36, 36, 3, 3, 1)
    found = checkpoint.find_best(reference.checkpoints)
    assert found is not None and found.progress.step == 12 * summary.best.epoch
    assert look.newest(reference).progress == checkpoint.Progress(36, 3, 0)
    assert sorted(path.name for path in reference.checkpoints.iterdir()) == ["best", "step-00000024", "step-00000036"]
    assert not list(reference.path.rglob("*.tmp")) and not (reference.control / "reserve").exists()


def test_a_run_with_another_loss_schedule_and_mixed_images_trains_as_it_was_told_or_says_why_not(new_run, look):
    run = new_run(
        "method=bptt_s", "loss.name=tet", "loss.mse_weight=0.05", "loss.label_smoothing=0.1", "neuron.threshold=0.9",
        "optim.schedule=multistep", "optim.milestones=[1, 2]", "optim.gamma=0.5", "data.mixup=0.2", "data.cutmix=1.0",
        "data.workers=2",
    )  # fmt: skip
    launch.start(run)
    assert look.end(run).status == "completed"
    assert [body.message for body in look.bodies(run, WarningRaised)] == [
        "data.workers = 2 has no effect: batches of this data are made in memory, without other processes"
    ]
    metrics = look.bodies(run, Metrics)
    assert [body.lr for body in metrics] == [0.1 * 0.5**body.epoch for body in metrics]
    validation = look.bodies(run, Validation)[-1]
    assert validation.top1 > 0.5  # it learns
    loaded = rbp_engine.load(run.path, weights="last")
    assert loaded.method.loss == Loss("tet", label_smoothing=0.1, mse_weight=0.05, mse_target=0.9)
    # Evaluations have the cross entropy of the mean output, whatever is minimised.
    test = catalogued("digits").load().test
    loss = torch.nn.functional.cross_entropy(loaded.predict(test.pixels), test.labels)
    assert validation.loss == pytest.approx(float(loss), rel=1e-5)


def test_a_killed_and_resumed_run_keeps_its_best_and_each_step_once_in_tensorboard(new_run, look):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = new_run("epochs=500", *IDLE, "train.log_every=1", "train.checkpoint_every=1 h")  # saves only when it improves
    worker = launch.start(run)
    look.first(run, CheckpointSaved)
    worker.kill()
    worker.wait()
    newest = look.newest(run)
    shutil.rmtree(run.best)  # as if the kill had come before the copy
    launch.start(run)
    assert look.first(run, RunStart, attempt=2).body.resumed_from == newest.path.name
    best = checkpoint.find_best(run.checkpoints)
    assert best is not None and best.progress.step >= newest.progress.step
    look.first(run, Validation, attempt=2)
    assert stop(run).status == "stopped"
    last = look.newest(run).progress.step
    shown = accumulator.EventAccumulator(str(run.tensorboard)).Reload()
    steps = {tag: [entry.step for entry in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}
    training = {tag: list(range(1, last + 1)) for tag in ("train/loss", "train/top1", "train/lr")}
    validated = 12 * look.bodies(run, Validation)[-1].epoch  # the stop may have come before the evaluation of `last`
    assert last - 12 <= validated <= last
    validation = {tag: list(range(12, validated + 1, 12)) for tag in ("validation/loss", "validation/top1")}
    assert steps == training | validation


def test_a_run_killed_before_its_first_checkpoint_says_that_it_starts_again(new_run, look):
    run = new_run("batch=2", "train.log_every=1", *IDLE)
    worker = launch.start(run)
    look.wait_until(lambda: (summary := read_summary(run)) is not None and summary.step > 0)
    worker.kill()
    worker.wait()
    launch.start(run)
    assert look.first(run, WarningRaised, attempt=2).body.message.startswith("starts again at epoch 1: ")
    control.kill(run)


def test_a_resume_warns_of_a_damaged_checkpoint_and_of_another_type_of_device(new_run, look):
    run = new_run("epochs=500", *IDLE)
    for _ in range(2):
        launch.start(run)
        control.request_stop(run)
        assert look.end(run).status == "stopped"
    newest = look.newest(run)
    assert newest.progress.step == 2
    content = bytearray((newest.path / "model.safetensors").read_bytes())
    content[-5] ^= 16
    (newest.path / "model.safetensors").write_bytes(content)
    manifest = read_json(run.checkpoints / "step-00000001" / "manifest.json")
    assert manifest["device"] == "cpu"
    write_json(run.checkpoints / "step-00000001" / "manifest.json", manifest | {"device": "cuda"})
    launch.start(run)
    start = look.first(run, RunStart, attempt=3).body
    assert (start.resumed_from, start.exact) == ("step-00000001", False)
    assert look.first(run, Metrics, attempt=3).step == 5
    assert [body.message for body in look.bodies(run, WarningRaised)] == [
        "passed over a checkpoint: step-00000002/model.safetensors is damaged: size or sha256 differs from the "
        "manifest",
        "cpu goes on where cuda was: they round differently, and the run is not what it would have been",
    ]


def test_with_held_out_images_the_test_set_is_used_once_for_the_last_and_the_best_weights(new_run, look):
    run = new_run("train.validation_split=0.2", "epochs=3", "optim.lr=0.5", "optim.schedule=constant")
    launch.start(run)
    assert look.end(run).status == "completed"
    validations = look.bodies(run, Validation)
    assert [(body.split, body.weights, body.epoch, body.samples) for body in validations] == [
        *(("held-out", "last", epoch, 288) for epoch in (1, 2, 3)),
        ("test", "last", 3, 360),
        ("test", "best", 3, 360),
    ]
    summary = read_summary(run)
    assert summary.step == 3 * math.ceil((1437 - 288) / 128)  # what is held out is not trained on
    held_out = validations[:3]
    assert summary.last.top1 == held_out[-1].top1
    assert summary.best.top1 == max(body.top1 for body in held_out)
    assert summary.test == Top1ByWeights(validations[3].top1, validations[4].top1)
    best = checkpoint.find_best(run.checkpoints)
    assert best is not None and best.progress.epoch == summary.best.epoch


def test_a_run_that_diverges_fails_names_the_step_and_keeps_a_good_checkpoint(new_run, look):
    """The TensorBoard curves reach as far as the events."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = new_run("optim.lr=1e30", "train.checkpoint_every=1s", "train.log_every=1")
    run.checkpoint_request.touch()  # requests one after the first step, while everything is still finite
    launch.start(run)
    verdict = look.end(run)
    assert (verdict.status, verdict.cause) == ("failed", Cause.NON_FINITE)
    summary = read_summary(run)
    assert summary is not None and (summary.reason, summary.cause) == (verdict.reason, verdict.cause)
    assert "not finite" in verdict.reason and "any checkpoint is from before that" in verdict.reason
    assert "Start again with a lower optim.lr" in verdict.reason and "resume" not in verdict.reason
    named = int(verdict.reason.split("step ")[1].split(";")[0])
    saved = look.newest(run)
    assert saved.progress.step < named or "after step" in verdict.reason
    assert all(bool(tensor.isfinite().all()) for tensor in look.weights(run).values())
    [error] = look.bodies(run, ErrorRaised)
    assert (error.message, error.cause) == (verdict.reason, verdict.cause) and "NonFiniteLoss" in error.traceback
    [ended] = look.bodies(run, RunEnd)
    assert (ended.reason, ended.cause) == (verdict.reason, verdict.cause)
    shown = accumulator.EventAccumulator(str(run.tensorboard)).Reload().Scalars("train/loss")
    recorded = [event.step for event in events_of(run, Metrics)]
    assert [entry.step for entry in shown] == recorded and recorded[-1] >= named


def test_a_damaged_preset_fails_the_run_with_its_file_and_line(new_run, look):
    run = new_run()
    run.preset_toml.write_text("title = 'x'\n[data]\nname = 'digitz'\n")
    launch.start(run)
    verdict = look.end(run)
    assert (verdict.status, verdict.cause) == ("failed", Cause.SETTINGS)
    assert "preset.toml" in verdict.reason and "data.name" in verdict.reason and "line 3" in verdict.reason


def test_a_worker_that_cannot_read_how_its_attempt_was_asked_for_fails_and_trains_nothing(new_run, look):
    run = new_run()
    claim_attempt(run, AttemptRecord(1, starter=os_process.here()))
    run.attempt(1).write_text("{")
    worker = [sys.executable, "-m", "rbp_engine.train.worker", str(run.path)]
    assert subprocess.run(worker, capture_output=True).returncode == 1
    summary = read_summary(run)
    assert summary.status == "failed" and "attempts/1.json" in summary.reason and look.bodies(run, RunStart) == []


def test_a_run_ends_by_its_budget_goes_on_with_a_larger_one_and_ends_early_though_it_was_killed(new_run, look):
    run = new_run(
        *IDLE, "epochs=60", "guard.max_steps=6", "guard.early_stop=2", "guard.early_stop_delta=0.9",
        'guard.alerts=["val.top1 > 0 after epoch 2", "memory > 1 MiB"]',
    )  # fmt: skip
    launch.start(run)
    ended = look.end(run)
    assert (ended.status, ended.cause) == ("stopped", Cause.BUDGET)
    assert ended.reason == "its budget is used up, guard.max_steps = 6, saved at step 6"
    assert look.newest(run).progress.step == read_summary(run).steps == 6  # what is left is what the budget leaves

    _, changed = go_on(run, ["guard.max_steps=600"])
    worker = launch.start(run, Asked(changed=changed))
    look.first(run, CheckpointSaved, attempt=2)
    worker.kill()
    worker.wait()

    launch.start(run)
    ended = look.end(run)
    assert (ended.status, ended.cause) == ("completed", Cause.EARLY_STOP)
    assert ended.reason.startswith("early stop after epoch 3 of 60: top-1 has not improved by 90 points since epoch 1")
    assert sorted({body.epoch for body in look.bodies(run, Validation)}) == [1, 2, 3]
    assert look.bodies(run, RunEnd)[-1].cause == "early_stop"
    summary = read_summary(run)
    assert summary is not None and (summary.epoch, summary.step) == (3, 36)
    assert checkpoint.find_best(run.checkpoints).progress.epoch == summary.best.epoch
    assert "; val.top1 > 0 after epoch 2: it is " in summary.alert
    assert {"val.top1 > 0 after epoch 2", "memory > 1 MiB"} == {body.rule for body in look.bodies(run, AlertRaised)}
    assert "unfinished" in {found.rule for found in read_findings(run)}
