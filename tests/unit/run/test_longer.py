"""A run that is given more epochs than it was made for, up to its next start."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rbp_engine.preset import PresetError, load_preset, read_resolved
from rbp_engine.run import trust
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import NothingToStart, RunError
from rbp_engine.run.files.event_writer import EventWriter
from rbp_engine.run.files.events import Validation
from rbp_engine.run.files.inside import Folder
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.summary import load_summary, write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.longer import extend, finish
from rbp_engine.run.status.status import judge

NET = "class Net:\n    pass\n"


@pytest.fixture
def completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run with own code that has completed 10 epochs of 8 steps."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "nets.py").write_text(NET)
    (tmp_path / "own.toml").write_text('extends = "digits"\nmodel.name = "nets.py:Net"\ntrain.epochs = 10\n')
    run = launch.create(load_preset(str(tmp_path / "own.toml")), tmp_path / "runs", run_id="own")
    write_status(run, "completed", epoch=10, step=80, steps=80)
    (run.checkpoints / "step-00000080").mkdir()
    return run


def state(run: RunDirectory) -> tuple[int, int, int, int]:
    """The epochs that each file says, and how often run.json records a new length."""
    summary, known = load_summary(run), read_run_json(run)
    last = known.extensions[-1].epochs if known.extensions else 10
    return summary.epochs, read_resolved(run.preset_toml).train.epochs, last, len(known.extensions)


def test_a_completed_run_becomes_one_to_be_resumed_and_another_experiment(completed: RunDirectory) -> None:
    before = load_summary(completed)
    extend(completed, ["epochs=30", "train.checkpoint_every=5 epochs"])
    after = load_summary(completed)
    assert state(completed) == (30, 30, 30, 1)
    assert read_resolved(completed.preset_toml).train.checkpoint_every == "5 epochs"
    assert (after.extended_from, after.step) == (10, 80)
    assert after.called == "own · 10→30 epochs"
    verdict = judge(completed)
    assert verdict.resumable and verdict.reason == "trained for 10 epochs, and is to go on to 30"
    from_the_start = load_preset(str(completed.preset_toml), code=completed.code)
    assert len({before.experiment, after.experiment, from_the_start.experiment}) == 3
    trust.require_launch(completed)  # its code is not asked for again


def test_it_can_be_done_again_and_the_way_there_is_part_of_the_experiment(completed: RunDirectory) -> None:
    other = RunDirectory(completed.path.with_name("at-once"))
    shutil.copytree(completed.path, other.path)
    extend(completed, ["epochs=20"])
    write_status(completed, "completed", epoch=20, step=160)
    extend(completed, ["train.epochs=40"])
    extend(other, ["epochs=40"])
    assert state(completed) == (40, 40, 40, 2)
    assert load_summary(completed).extended_from == load_summary(other).extended_from == 10
    assert load_summary(completed).experiment != load_summary(other).experiment


def test_the_same_change_of_two_seeds_gives_one_experiment(completed: RunDirectory) -> None:
    other = RunDirectory(completed.path.with_name("other-seed"))
    shutil.copytree(completed.path, other.path)
    for run in (completed, other):
        extend(run, ["epochs=40"])
    assert load_summary(completed).experiment == load_summary(other).experiment


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["epochs=5"], RunError, "made for 10 epochs, and cannot become shorter: rbp train --like own epochs=5"),
        (["epochs=20", "lr=0.3", "T=2"], RunError, "lr=0.3, T=2 cannot change when a run goes on (it would be another "
         "experiment), only epochs, train.checkpoint_every, guard.max_time, guard.max_steps and guard.alerts can: "
         "rbp train --like own epochs=20 lr=0.3 T=2"),
        (["train.kernel=reference"], RunError, "keeps the settings that it was made with"),
        (["epochs=many"], PresetError, 'train.epochs (epochs=many)  expected an integer, got the string "many"'),
        (["epochs=20", "train.checkpoint_every=often"], PresetError,
         "train.checkpoint_every (train.checkpoint_every=often)"),
        (["guard.alerts=x"], PresetError, "guard.alerts[0] (guard.alerts=x)"),
        (["epoch=20"], PresetError, "Did you mean 'train.epochs'?"),
    ],
)  # fmt: skip
def test_what_cannot_change_is_refused_with_the_reason_and_changes_nothing(
    completed: RunDirectory, words: list[str], error: type[Exception], message: str
) -> None:
    before = (completed.preset_toml.read_text(), completed.summary_json.read_text())
    with pytest.raises(error) as refused:
        extend(completed, words)
    assert message in str(refused.value)
    assert (completed.preset_toml.read_text(), completed.summary_json.read_text()) == before


def test_a_live_run_and_one_without_a_checkpoint_are_refused(completed: RunDirectory) -> None:
    (completed.checkpoints / "step-00000080").rmdir()
    with pytest.raises(RunError, match="has no checkpoint to go on from"):
        extend(completed, ["epochs=20"])
    (completed.checkpoints / "step-00000080").mkdir()
    write_status(completed, "queued")
    with pytest.raises(NothingToStart, match="is queued: stop it first"):
        extend(completed, ["epochs=20"])
    assert state(completed) == (10, 10, 10, 0)


def test_a_run_that_has_stopped_early_is_not_made_another_experiment_only_to_stop_again(
    completed: RunDirectory,
) -> None:
    write_status(completed, "completed", "early stop after epoch 7 of 10", Cause.EARLY_STOP)
    with pytest.raises(RunError, match=r"by its early stop.* --like own epochs=20 guard.early_stop=0"):
        extend(completed, ["epochs=20"])
    assert state(completed) == (10, 10, 10, 0)


@pytest.mark.parametrize(("best_epoch", "refused"), [(7, True), (8, False)])
def test_an_early_stop_that_is_due_at_the_last_epoch_would_end_a_longer_run_at_once(
    tmp_path: Path, best_epoch: int, refused: bool
) -> None:
    words = ["epochs=10", "guard.early_stop=3", "guard.early_stop_delta=0.1"]
    run = launch.create(load_preset("digits", words), tmp_path / "runs", run_id="own")
    writer = EventWriter(run.events(), 1)
    for epoch in range(1, 11):
        top1 = 0.5 + 0.3 * (epoch >= best_epoch) + 0.001 * epoch  # what it gains later is less than 0.1
        writer.write(Validation(epoch, 1.0, top1, None, 100), 8 * epoch)
    writer.close()
    write_status(run, "completed", epoch=10, step=80, steps=80)
    (run.checkpoints / "step-00000080").mkdir()
    if refused:
        with pytest.raises(RunError, match=r"by its early stop.* --like own epochs=20 guard.early_stop=0"):
            extend(run, ["epochs=20"])
    else:
        extend(run, ["epochs=20"])
    assert load_summary(run).epochs == (10 if refused else 20)


def test_a_run_whose_budget_is_used_up_is_given_more_of_it_with_its_epochs(completed: RunDirectory) -> None:
    extend(completed, ["guard.max_steps=80"])
    write_status(completed, "stopped", "", Cause.BUDGET)
    with pytest.raises(RunError, match=r"the budget of own is used up"):
        extend(completed, ["epochs=20"])
    assert state(completed) == (10, 10, 10, 0)
    extend(completed, ["epochs=20", "guard.max_steps=0"])
    assert state(completed) == (20, 20, 20, 1)


def test_a_run_that_cannot_be_written_is_one_message_and_stays_as_it_was(
    completed: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Folder, name: str, contents: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(completed.path / name))

    monkeypatch.setattr(Folder, "write", full)
    with pytest.raises(RunError, match=r"cannot write .*run\.json.*: No space left on device"):
        extend(completed, ["epochs=20"])
    assert state(completed) == (10, 10, 10, 0)


def killed_at(write: int, monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> bool:
    """Do something in a process that is killed before the n-th file is put in place; whether it came so far."""
    rename, done = Folder.rename, 0

    def counted(self: Folder, old: str, new: str) -> None:
        nonlocal done
        if done == write:
            raise SystemExit
        done += 1
        rename(self, old, new)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "rename", counted)
        try:
            action()
        except SystemExit:
            return True
    return False


def test_killed_between_two_writes_it_is_the_old_run_or_the_longer_one(
    completed: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for write in range(10):
        run = RunDirectory(completed.path.with_name(f"killed-{write}"))
        shutil.copytree(completed.path, run.path)
        if not killed_at(write, monkeypatch, lambda run=run: extend(run, ["epochs=30"])):
            break
        seen.append(state(run))
        finish(run)  # as the next start does
        assert state(run) in {(10, 10, 10, 0), (30, 30, 30, 1)}
        assert judge(run).status == ("completed" if load_summary(run).epochs == 10 else "stopped")
        extend(run, ["epochs=30"])
        assert state(run) == (30, 30, 30, 1)
        assert json.loads(run.run_json.read_text())["extended_from"] == 10
    assert seen == [(10, 10, 10, 0), (30, 10, 30, 1), (30, 30, 30, 1)]


def test_of_two_commands_that_find_a_killed_change_one_does_the_rest(
    completed: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert killed_at(1, monkeypatch, lambda: extend(completed, ["epochs=30"]))
    other = os.open(completed.path, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(NothingToStart, match="is being changed by another command"):
            finish(completed)
    finally:
        os.close(other)
    finish(completed)
    assert state(completed) == (30, 30, 30, 1)
