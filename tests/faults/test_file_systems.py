"""The smallest story of a run, with code of its user's, on every file system whose tools are here (as root), and what a
resume does where a folder does not show the checkpoints that were saved in it."""

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import torch

from rbp_engine import lease, load, os_process
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.events import CheckpointSaved, RunStart
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import judge
from rbp_engine.train.checkpoints import checkpoint, resuming
from rbp_engine.train.errors import CheckpointError
from tests.faults.test_power_loss import DATA, empty_disk, mounted, tool
from tests.run_files import bodies_of

SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")
NETWORK = """
from torch import nn


def net(*, num_classes, in_channels, neuron):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, 8), neuron(), nn.Linear(8, num_classes))
"""
PRESET = f"""{DATA}[model]
name = "nets.py:net"
[method]
timesteps = 2
[train]
epochs = 100000
kernel = "eager"
[run]
device = "cpu"
"""


@contextlib.contextmanager
def on_a_disk(file_system, folder):
    """A new file system in a file."""
    with mounted(empty_disk(file_system, folder), file_system, folder / "mounted") as top:
        yield top


@contextlib.contextmanager
def in_memory(folder):
    with mounted(Path("tmpfs"), "tmpfs", folder / "memory", "size=64m") as top:
        yield top


@contextlib.contextmanager
def over_another(folder):
    """Over one in memory, since some cannot be the upper one."""
    with in_memory(folder) as memory:
        for name in ("lower", "upper", "work"):
            (memory / name).mkdir()
        layers = f"lowerdir={memory}/lower,upperdir={memory}/upper,workdir={memory}/work"
        with mounted(Path("overlay"), "overlay", folder / "over", layers) as top:
            yield top


@contextlib.contextmanager
def by_sshfs(folder, name="here"):
    """`folder`/there, from its server by a pipe, without a network, as `folder`/`name`."""
    if not SFTP_SERVER.exists():
        pytest.skip(f"not reached: there is no {SFTP_SERVER} here")
    there, here = folder / "there", folder / name
    there.mkdir(exist_ok=True)
    here.mkdir()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = subprocess.Popen([str(SFTP_SERVER)], stdin=theirs, stdout=theirs)
        client = subprocess.Popen(
            [tool("sshfs"), "-f", "-o", "passive", f":{there}", str(here)],
            stdin=ours, stdout=ours, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not here.is_mount():
            if client.poll() is not None:
                pytest.skip(f"not reached: sshfs cannot mount here ({client.communicate()[1].strip()})")
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield here
    finally:
        subprocess.run(["umount", "--lazy", str(here)], capture_output=True, timeout=60)
        for process in (client, server):
            process.kill()
            process.communicate(timeout=60)


PLACES = {
    "ext4": lambda folder: on_a_disk("ext4", folder),
    "xfs": lambda folder: on_a_disk("xfs", folder),
    "btrfs": lambda folder: on_a_disk("btrfs", folder),
    "tmpfs": in_memory,
    "overlay": over_another,
    "sshfs": by_sshfs,
}


@pytest.fixture(params=PLACES)
def place(request, tmp_path, as_root):
    """A folder on a file system of its own."""
    with contextlib.ExitStack() as mounts:
        try:
            top = mounts.enter_context(PLACES[request.param](tmp_path))
        except OSError as error:
            pytest.skip(f"not reached: these tests may not mount {request.param} ({error})")
        yield top


@pytest.mark.root
def test_a_lease_is_one_machine_s_though_sshfs_shows_others_no_locks(tmp_path):
    with by_sshfs(tmp_path) as here, by_sshfs(tmp_path, "as-another-machine-has-it") as elsewhere:
        mine = lease.try_take(here / "a.lock")
        assert mine is not None and lease.try_take(elsewhere / "a.lock") is None
        assert lease.holder(elsewhere / "a.lock") == os_process.here()
        mine.release()
        theirs = lease.try_take(elsewhere / "a.lock")
        assert theirs is not None and lease.try_take(here / "a.lock") is None
        theirs.release()


def until_saved(command, run, count, how):
    """The exit code and the output of a command whose worker is ended by a signal when it has saved so many more."""
    before = len(saved(run))
    while len(saved(run)) < before + count:
        check_goes_on(command)
    os.kill(last_attempt(run).process.pid, how)
    output, _ = command.communicate()
    return command.returncode, output


def check_goes_on(command):
    assert command.poll() is None, command.communicate()
    time.sleep(0.01)


def saved(run):
    """The checkpoints that the run has announced."""
    return [body.name for body in bodies_of(run, CheckpointSaved)]


@pytest.fixture
def killed(start, settings, tmp_path):
    return functools.partial(make_killed, start, folder=tmp_path)


def make_killed(start, place, folder):
    """A run that was killed when it had saved three checkpoints, and what starts a command about it."""
    preset, run = folder / "own.toml", RunDirectory(place / "runs" / "story")
    preset.write_text(PRESET)
    (folder / "nets.py").write_text(NETWORK)

    def rbp(*words):
        return start(*words, "--runs-dir", str(run.path.parent))

    until_saved(rbp("train", str(preset), "--id", run.id), run, 3, signal.SIGKILL)
    for path in run.saved_checkpoints():
        if path.name not in saved(run):  # it was killed between a save and what announces that
            shutil.rmtree(path)
    return run, rbp


def starts(run):
    """What each attempt resumed from, and whether exactly."""
    return [(body.resumed_from, body.exact) for body in bodies_of(run, RunStart)]


def test_a_run_is_killed_resumed_pruned_and_evaluated_and_its_code_is_looked_at(place, killed):
    run, rbp = killed(place)
    newest = saved(run)[-1]

    code, output = until_saved(rbp("resume", run.id), run, 1, signal.SIGTERM)
    assert code == 5, output
    assert starts(run) == [(None, True), (newest, True)]
    found, skipped = checkpoint.find_newest(run.checkpoints)
    assert found is not None and found.path.name == saved(run)[-1] and skipped == []
    assert [path.name for path in run.saved_checkpoints()] == sorted(set(saved(run)))[-2:]

    for weights in ("best", "last"):
        assert load(run.path, weights=weights).predict(torch.zeros(1, 3, 8, 8)).shape == (1, 4)  # as rbp eval does
    with (run.code / "nets.py").open("a") as file:
        file.write("# not what was launched\n")
    with pytest.raises(RunError, match=r"would execute code/nets\.py"):
        load(run.path)


def test_a_checkpoint_that_was_saved_and_is_not_seen_is_waited_for(killed, tmp_path):
    """As on another node, whose cache of the folder is older than the checkpoint."""
    run, rbp = killed(tmp_path)
    newest = saved(run)[-1]
    (run.checkpoints / newest).rename(tmp_path / newest)
    command = rbp("resume", run.id)
    while f"waiting for {newest}" not in run.stdout().read_text():
        check_goes_on(command)
    assert len(starts(run)) == 1
    (tmp_path / newest).rename(run.checkpoints / newest)
    while len(starts(run)) == 1:
        check_goes_on(command)
    os.kill(last_attempt(run).process.pid, signal.SIGKILL)
    command.communicate()
    assert starts(run) == [(None, True), (newest, True)]


def test_without_its_checkpoints_a_run_starts_over_only_if_that_is_asked_for(killed, tmp_path, monkeypatch):
    monkeypatch.setattr(resuming, "SEEN_WITHIN_S", 0.0)
    run, rbp = killed(tmp_path)
    *_, older, newest = [path.name for path in run.saved_checkpoints()]
    (run.checkpoints / newest).rename(tmp_path / newest)
    with pytest.raises(CheckpointError, match=f"{newest} was saved and is not in .* it resumes from {older}"):
        resuming.newest_checkpoint(run, print, from_scratch=False)
    found, [warning] = resuming.newest_checkpoint(run, print, from_scratch=True)
    assert found is not None and found.path.name == older and newest in warning

    (tmp_path / newest).rename(run.checkpoints / newest)
    for name in (older, newest):
        (run.checkpoints / name / "optimizer.pt").write_bytes(b"")
    refused = rbp("resume", run.id)
    assert refused.wait() == 1 and len(starts(run)) == 1, refused.communicate()
    reason = judge(run).reason
    assert older in reason and newest in reason and "--from-scratch, which starts over at epoch 1" in reason
    code, output = until_saved(rbp("resume", run.id, "--from-scratch"), run, 1, signal.SIGTERM)
    assert code == 5 and starts(run) == [(None, True), (None, True)], output
