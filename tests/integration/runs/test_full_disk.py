import pytest
import torch
from idle import IDLE

from rbp_engine import lease
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.events import CheckpointSaved, ErrorRaised
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.status.status import judge
from rbp_engine.train.checkpoints import checkpoint
from tests.full_disk import disk_in_memory, remount


@pytest.fixture
def disk(tmp_path, as_root):
    with disk_in_memory(tmp_path / "disk") as folder:
        yield folder


def fill(disk):
    with pytest.raises(OSError), (disk / ".filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def check_failed_well(run, look):
    verdict = look.end(run)
    assert (verdict.status, verdict.cause) == ("failed", Cause.DISK)
    assert "no space left on the device of the runs directory" in verdict.reason
    summary = read_summary(run)
    assert summary is not None and (summary.status, summary.reason) == ("failed", verdict.reason)
    assert judge(run) == verdict
    [error] = look.bodies(run, ErrorRaised)
    assert error.message == verdict.reason
    newest = look.newest(run)
    assert [body.name for body in look.bodies(run, CheckpointSaved)][-1] == newest.path.name
    assert sorted(path.name for path in newest.path.iterdir()) == [
        "manifest.json", "model.safetensors", "optimizer.pt", "rng-rank0.pt"
    ]  # fmt: skip
    assert not list(run.path.rglob("*.tmp")) and not list(run.path.rglob(".*"))


def test_a_disk_filled_by_checkpoints_fails_the_run_which_continues_with_more_room(disk, reference, new_run, look):
    remount(disk, "size=2200k")
    run = new_run(runs=disk)
    launch.start(run)
    check_failed_well(run, look)
    assert look.newest(run).progress.step < 36
    remount(disk, "size=16m")
    launch.start(run)
    assert look.end(run).status == "completed"
    assert look.story(run) == look.story(reference)
    expected = look.weights(reference)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in look.weights(run).items())


def test_a_disk_filled_by_others_fails_the_run_with_that_reason(disk, new_run, look):
    run = new_run("epochs=500", *IDLE, "train.checkpoint_every=1 h", runs=disk)
    launch.start(run)
    look.first(run, CheckpointSaved)
    fill(disk)
    check_failed_well(run, look)
    (disk / ".filler").unlink()


def test_a_disk_with_room_only_for_the_start_fails_the_run_with_that_reason(disk, new_run, look):
    remount(disk, "size=160k")
    run = new_run(runs=disk)
    launch.start(run)
    verdict = look.end(run)
    assert verdict.status == "failed" and "no space left" in verdict.reason
    assert checkpoint.find_newest(run.checkpoints) == (None, [])
    assert list(run.checkpoints.iterdir()) == []


@pytest.mark.parametrize("locks", [True, False])
def test_a_full_disk_refuses_a_new_run_and_nothing_of_it_remains(disk, new_run, monkeypatch, locks):
    monkeypatch.setattr(lease, "_reaches_all", lambda descriptor: locks)
    remount(disk, "size=64k")
    fill(disk)
    with pytest.raises(launch.RunError, match="No space left"):
        new_run(runs=disk)
    assert [path.name for path in disk.iterdir()] == [".filler"]
    assert checkpoint.find_newest(disk) == (None, [])
    (disk / ".filler").unlink()
