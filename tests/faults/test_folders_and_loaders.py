"""Folders that become read-only or disappear, and loader workers that fail."""

import contextlib
import shutil
import subprocess

import pytest
from idle import IDLE

from rbp_engine.run import control
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.launch import launch
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge
from tests.full_disk import disk_in_memory, remount
from tests.stopping import stop

# A loader worker fails to read it, and a rank does not.
BROKEN_SET = """
import os
import torch
from rbp_engine.data.sets.fake import fake
from rbp_engine.data.splits import DataSplits, Images

PARENT = os.getpid()

class Pixels(torch.Tensor):
    def __getitem__(self, index):
        if os.getpid() != PARENT:
            raise RuntimeError("page 7 is missing")
        return super().__getitem__(index)

def broken():
    splits = fake(shape=(3, 8, 8), classes=4, train_size=96, test_size=24)
    images = Images(splits.train.pixels.as_subclass(Pixels), splits.train.labels)
    return DataSplits(images, splits.test, splits.classes, splits.mean, splits.deviation)
"""


@pytest.fixture
def disk(tmp_path, as_root):
    with disk_in_memory(tmp_path / "disk") as folder:
        yield folder


@contextlib.contextmanager
def read_only_for_who_opens(disk):
    """Files that are already open stay writable, as a log may be on a failing disk."""
    subprocess.run(["mount", "--bind", str(disk), str(disk)], check=True)
    remount(disk, "bind,ro")
    try:
        yield
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_read_only_directory_refuses_new_runs_and_changes_with_a_message(new_job, disk, rbp):
    """Nothing can be started or changed there, but existing runs can be read. A live run ends, and says why."""
    job = new_job(1, "epochs=5000", *IDLE, runs=disk)
    job.train()
    stop(job.run)
    job.check_end("stopped")
    saved = job.saved_step
    remount(disk, "ro")
    try:
        with pytest.raises(RunError, match="Read-only file system"):
            new_job(1, runs=disk)
        with pytest.raises(RunError, match=r"cannot start .*Read-only file system"):
            launch.start(job.run)
        assert "Read-only file system" in str(rbp(disk, "runs", "rm", "--now", "-y", job.run.id).exception)
        assert "Read-only file system" in str(rbp(disk, "runs", "note", job.run.id, "x").exception)
        assert judge(job.run).status == "stopped" and job.saved_step == saved
        assert job.run.id in rbp(disk, "ls", "--json").output
    finally:
        remount(disk, "rw")
    job.train()
    with read_only_for_who_opens(disk):
        verdict = job.end()
    assert (verdict.status, verdict.cause) == ("failed", Cause.DISK)
    assert verdict.reason.startswith(f"Read-only file system: {job.run.path}")
    assert judge(job.run).reason == verdict.reason

    job.train()
    processes.kill_all(job.run)
    job.process.wait()
    assert "out of memory?" in judge(job.run).reason and judge(job.run).cause is Cause.LOST_PROCESS
    remount(disk, "ro")
    assert judge(job.run).reason.endswith(f"the file system of {job.run.path} has become read-only")
    assert judge(job.run).cause is Cause.DISK
    remount(disk, "rw")


def test_a_run_whose_directory_is_removed_ends_by_itself_and_does_not_recreate_it(new_job, rbp):
    job = new_job(2, "epochs=5000", *IDLE)
    job.train()
    runs = job.run.path.parent
    while runs.exists():
        shutil.rmtree(runs, ignore_errors=True)  # the run may be writing at this moment
    job.wait_until(lambda: not processes.processes_of(job.run))
    job.process.wait(60)
    assert not runs.exists()
    assert judge(job.run).status == "lost"
    assert f"no run '{job.run.id}'" in str(rbp(runs, "show", job.run.id).exception)
    assert rbp(runs, "ls", "--json").output.strip() == "[]"
    for act in (launch.start, stop, control.kill):
        with pytest.raises(RunError):
            act(job.run)


def test_an_exception_in_a_loader_worker_fails_the_run_with_its_message(new_job, tmp_path, monkeypatch):
    (tmp_path / "sets.py").write_text(BROKEN_SET)
    monkeypatch.chdir(tmp_path)
    job = new_job(1, "data.name=sets.py:broken", "data.args={}", "data.size=0")
    job.start()
    verdict = job.check_end("failed")
    said = "RuntimeError: page 7 is missing (in a process that reads images)"
    assert verdict.reason == said and verdict.cause is Cause.OWN_CODE
