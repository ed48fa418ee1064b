"""`resume RUN epochs=N`: a fork goes on, and the run stays as it was."""

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rbp_engine.preset import PresetError, load_preset, read_resolved
from rbp_engine.run import longer, start, trust
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import NothingToStart, RunError
from rbp_engine.run.files.attempts import (
    Asked,
    AttemptRecord,
    Ended,
    claim_attempt,
    load_attempt,
    record_end,
    record_process,
)
from rbp_engine.run.files.events import CheckpointSaved, RunEnd, RunStart, Validation
from rbp_engine.run.files.inside import Folder
from rbp_engine.run.files.layout import RunDirectory, write_json
from rbp_engine.run.files.run_json import Resources, load_run_json
from rbp_engine.run.files.summary import fold, load_summary, write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.longer import go_on, preset_in_force
from rbp_engine.run.queue.entries import entries
from rbp_engine.run.request import LaunchOptions
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.store import list_runs
from rbp_engine.run.writer import EventWriter
from tests.run_files import contents, create_own, write_attempt

NET = "from torch import nn\n\nfrom parts.widths import WIDTH\n\n\nclass Net(nn.Module):\n    pass\n"


@pytest.fixture
def completed(tmp_path):
    return complete(tmp_path, tmp_path / "runs")


def complete(folder: Path, runs: Path, *words: str) -> RunDirectory:
    """A run with own code that has completed 10 epochs of 8 steps."""
    (folder / "parts").mkdir(exist_ok=True)
    (folder / "parts" / "widths.py").write_text("WIDTH = 8\n")
    run = create_own(folder, runs, NET, "train.epochs=10", *words)
    claim_attempt(run, AttemptRecord(1))
    record_process(run, 1, 2**22 - 1)
    events = EventWriter(run.events(), 1)
    events.write(RunStart(steps_per_epoch=8, epochs=10, epoch=0), 0)
    for epoch in (5, 10):
        events.write(Validation(epoch, 0.5, epoch / 20, None, 100), 8 * epoch)
        save(run, events, 8 * epoch)
    events.write(RunEnd("completed"), 80)
    events.close()
    write_status(run, "completed", epoch=10, step=80, steps=80)
    record_end(run, 1, Ended("completed"))
    return run


def save(run: RunDirectory, events: EventWriter, step: int) -> None:
    """Save a checkpoint, and as the best one, too."""
    for name in (f"step-{step:08d}", "best"):
        shutil.rmtree(run.checkpoints / name, ignore_errors=True)
        (run.checkpoints / name).mkdir()
        for file in ("model.safetensors", "manifest.json"):
            (run.checkpoints / name / file).write_text(f"{file} at {step}")
    events.write(CheckpointSaved(f"step-{step:08d}"), step)


def test_a_fork_has_what_the_run_has_reached_and_the_run_stays_as_it_was(completed):
    before = contents(completed.path)
    fork, changed = go_on(completed, ["epochs=30"])
    assert (fork.id, changed) == ("own-30", {}) and contents(completed.path) == before
    summary, described = load_summary(fork), load_run_json(fork)
    assert (described.origin, described.origin_epochs, described.origin_step) == ("own", 10, 80)
    assert (summary.epochs, summary.epoch, summary.step, summary.last.top1) == (30, 10, 80, 0.5)
    assert summary.steps == 240
    assert read_resolved(fork.preset_toml).train.epochs == preset_in_force(fork).train.epochs == 30
    assert summary.called == "own · 10→30 epochs" and summary.created > load_summary(completed).created
    verdict = judge(fork)
    assert verdict.resumable and verdict.reason == "made for epochs=10, goes on from step 80 to epoch 30"
    assert fork.events().read_bytes() == completed.events().read_bytes()
    assert fork.events().stat().st_ino != completed.events().stat().st_ino  # a copy: it will be appended to
    assert load_attempt(fork, 1).process == load_attempt(completed, 1).process
    assert sorted(path.name for path in fork.checkpoints.iterdir()) == ["best", "step-00000080"]
    for name in ("best", "step-00000080"):
        ours, its = (run.checkpoints / name / "model.safetensors" for run in (fork, completed))
        assert ours.samefile(its)
    assert (fork.code / "nets.py").read_text() == NET
    assert (fork.code / "parts" / "widths.py").read_text() == "WIDTH = 8\n"
    trust.require_launch(fork)  # its code is not asked for again
    fork.summary_json.unlink()
    assert vars(fold(fork)) | {"updated": 0} == vars(summary) | {"updated": 0}


def test_other_processes_than_before_are_refused_before_a_fork_is_made(completed):
    for saved in completed.saved_checkpoints():
        write_json(saved / "manifest.json", {"world_size": 2})
    one = Asked(resources=Resources())
    with pytest.raises(RunError, match="own was trained by 2 processes"):
        go_on(completed, ["epochs=30"], one)
    assert [record.run.id for record in list_runs(completed.path.parent)] == ["own"]
    assert go_on(completed, ["epochs=30"], replace(one, inexact=True))[0].id == "own-30"


def test_typed_again_it_is_the_same_fork(completed):
    fork, _ = go_on(completed, ["epochs=30"])
    before = contents(fork.path)
    assert go_on(completed, ["epochs=30", "guard.max_steps=500"]) == (fork, {"guard.max_steps": 500})
    assert contents(fork.path) == before
    write_status(fork, "completed", epoch=30, step=240)
    assert go_on(completed, ["epochs=30"])[0] == fork
    assert {record.run.id for record in list_runs(completed.path.parent)} == {"own", "own-30"}


def test_the_way_to_a_length_is_part_of_the_experiment(completed):
    at_once, _ = go_on(completed, ["epochs=40"])
    between, _ = go_on(completed, ["epochs=20"])
    shutil.move(at_once.path, at_once.path.with_name("at-once"))
    at_once = RunDirectory(at_once.path.with_name("at-once"))
    write_status(between, "queued")
    with pytest.raises(NothingToStart, match="own-20 is queued: stop it first"):
        go_on(between, ["epochs=40"])
    write_status(between, "completed", epoch=20, step=160)
    by_twenty, _ = go_on(between, ["epochs=40"])
    assert by_twenty.id == "own-40" and load_run_json(by_twenty).origin == "own-20"
    from_the_start = load_preset(str(completed.preset_toml), ["epochs=40"], code=completed.code)
    runs = (completed, between, at_once, by_twenty)
    assert len({from_the_start.experiment, *(load_summary(run).experiment for run in runs)}) == 5


def test_two_seeds_that_become_longer_alike_are_one_experiment(completed, tmp_path):
    forks = [go_on(run, ["epochs=30"])[0] for run in (completed, complete(tmp_path, tmp_path / "others", "seed=2"))]
    assert [load_summary(fork).seed for fork in forks] == [1, 2]
    assert len({load_summary(fork).experiment for fork in forks}) == 1


def test_a_run_that_is_in_the_way_is_named(completed):
    shutil.copytree(completed.path, completed.path.with_name("own-30"))
    with pytest.raises(RunError, match="own-30 is in the way: it is no run of own that was trained longer"):
        go_on(completed, ["epochs=30"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["epochs=5"], "is made for 10 epochs, and cannot become shorter: rbp train --like own epochs=5"),
        (["lr=0.2", "epochs=20"], "lr=0.2 cannot change when a run goes on .*rbp train --like own lr=0.2 epochs=20"),
        (["train.log_every=3"], "a run keeps the settings that it was made with"),
    ],
)
def test_what_cannot_change_is_refused_with_what_to_type(completed, words, why):
    with pytest.raises(RunError, match=why):
        go_on(completed, words)
    with pytest.raises(PresetError, match="epochs"):
        go_on(completed, ["epochs=many"])
    assert [path.name for path in completed.path.parent.iterdir()] == ["own"]


def test_a_checkpoint_that_was_announced_and_is_not_seen_is_not_passed_over(completed):
    (completed.checkpoints / "step-00000080").rename(completed.path / "gone")
    with pytest.raises(RunError, match="step-00000080 was saved and is not in"):
        go_on(completed, ["epochs=30"])
    completed.events().unlink()
    shutil.rmtree(completed.checkpoints / "step-00000040")
    with pytest.raises(RunError, match="own has no checkpoint to go on from: rbp train --like own epochs=30"):
        go_on(completed, ["epochs=30"])


def test_a_run_that_would_end_again_at_once_is_refused(completed):
    write_status(completed, "completed", "", Cause.EARLY_STOP)
    with pytest.raises(RunError, match=r"by its early stop: rbp train --like own epochs=30 guard.early_stop=0"):
        go_on(completed, ["epochs=30"])
    write_status(completed, "stopped", "", Cause.BUDGET)
    with pytest.raises(RunError, match="the budget of own is used up"):
        go_on(completed, ["epochs=30"])
    assert go_on(completed, ["epochs=30", "guard.max_steps=900"])[1] == {"guard.max_steps": 900}
    with pytest.raises(RunError, match=r"own has used up guard.max_steps = 80: give it a larger one"):
        go_on(completed, ["guard.max_steps=80"])
    write_attempt(completed, changed={"guard.max_steps": 80})
    with pytest.raises(RunError, match=r"the budget of own is used up: rbp resume own guard.max_steps=160"):
        start.resume(completed)


def test_a_run_with_a_frozen_process_is_neither_forked_nor_queued(completed, sleeper, monkeypatch):
    monkeypatch.setattr(processes, "LEAVE_S", 0.0)
    write_status(completed, "failed", "", Cause.LOST_PROCESS)
    process = sleeper(completed)
    for go in (
        lambda: go_on(completed, ["epochs=30"]),
        lambda: start.resume(completed, (), LaunchOptions(gpus="none")),
    ):
        with pytest.raises(RunError, match=f"own still has process {process.pid}: rbp stop --now own first"):
            go()
    assert entries() == [] and [path.name for path in completed.path.parent.iterdir()] == ["own"]


def test_a_fork_that_cannot_be_written_leaves_nothing(completed, monkeypatch):
    write, left = Folder.write, [None] * 3

    def full(self: Folder, name: str, contents: bytes) -> None:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device", name)
        left.pop()
        write(self, name, contents)

    monkeypatch.setattr(Folder, "write", full)
    with pytest.raises(RunError, match=r"cannot write the run into .*: No space left on device"):
        go_on(completed, ["epochs=20"])
    assert [path.name for path in completed.path.parent.iterdir()] == ["own"]


def test_what_may_change_stands_in_the_attempt_and_not_in_the_run(completed, monkeypatch):
    write_status(completed, "stopped", "", Cause.REQUEST)
    before = completed.run_json.read_bytes(), completed.preset_toml.read_bytes()
    started: list[dict[str, object]] = []
    monkeypatch.setattr(launch, "worker_command", lambda run, resources: ["true"])
    for words, changed in (
        (["guard.max_steps=900"], {"guard.max_steps": 900}),
        (["train.checkpoint_every=5 epochs"], {"guard.max_steps": 900, "train.checkpoint_every": "5 epochs"}),
    ):
        worker = start.resume(completed, words).worker
        assert worker.wait(60) == 0
        started.append(load_attempt(completed, len(started) + 2).changed)
        assert started[-1] == changed
        write_status(completed, "stopped", "", Cause.REQUEST)
    now = preset_in_force(completed)
    assert (now.guard.max_steps, now.train.checkpoint_every) == (900, "5 epochs")
    assert (completed.run_json.read_bytes(), completed.preset_toml.read_bytes()) == before
    assert longer.CHANGEABLE[0] == longer.EPOCHS
