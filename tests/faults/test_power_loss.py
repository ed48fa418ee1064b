"""What a power loss leaves of a run.

A real run writes to a real file system on a disk that records every write and flush. Of the writes that were not
flushed at a given moment, a power loss leaves none, all, some, or parts of some. Each such disk is mounted again, as at
a reboot, and must contain everything that the run had announced before that moment.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from idle import IDLE

from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.files.events import CheckpointSaved, Metrics, RunStart
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.history.history_reader import read_history
from rbp_engine.train.checkpoints import checkpoint
from tests.run_files import events_of, newest_weights, story

pytestmark = pytest.mark.xdist_group("power loss")  # one process keeps what was recorded
MIB = 2**20
SECTOR = 512
FILE_SYSTEMS = {
    "ext4": (48 * MIB, ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"]),
    "xfs": (320 * MIB, ["mkfs.xfs", "-q", "-K"]),
    "btrfs": (128 * MIB, ["mkfs.btrfs", "-q", "-K"]),
}
# `make faults` tries all file systems; `make test` only ext4, whose tools are on every machine.
WHOLE = int(os.environ.get("RBP_FAULT_TRIALS", "0")) >= 50
CONTROLS = [
    ("ext4", "rbp_engine.train.record.journal.Journal.sync", "metrics up to step"),
    ("btrfs", "rbp_engine.run.files.inside.Folder.sync best.tmp", "the best checkpoint is None"),
    ("xfs", "rbp_engine.run.files.inside.Folder.sync checkpoints", "was announced"),
    ("btrfs", "rbp_engine.run.launch.making.sync", "--resume-or-start ended with"),
]
DATA = """
[data]
name = "fake"
size = 8
args = {train_size = 96, test_size = 24, classes = 4}
batch_size = 24
"""
PRESET = f"""{DATA}[method]
timesteps = 2
[train]
epochs = 6
log_every = 1
[run]
device = "cpu"
"""
PREEMPTED_AT = 5  # steps: in the second of six epochs of four steps
RUN = "power"


class Disks:
    """Disks that record their writes, as files in a folder; see recording_disk.py."""

    def __init__(self, folder):
        self.folder = folder
        command = [sys.executable, str(Path(__file__).with_name("recording_disk.py")), str(folder)]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.problem = json.loads(self._server.stdout.readline())["problem"]

    def ask(self, *request):
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def close(self):
        self._server.communicate(timeout=60)


@dataclass(frozen=True)
class Announced:
    """What the run had announced about its checkpoints when the disk had seen `at` writes and flushes."""

    at: int
    step: int
    best: int  # step of the best checkpoint


@dataclass
class Recording:
    """A whole run, with a stop and a resume, on a disk; `events` are its story at the end."""

    file_system: str
    disk: Disks
    name: str
    length: int = 0
    announced: list[Announced] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def known_at(self, at):
        """What had been announced by then."""
        return next((one for one in reversed(self.announced) if one.at <= at), Announced(0, 0, 0))


def train_words(settings, runs):
    preset = settings / "power.toml"
    preset.write_text(PRESET)
    return ["train", str(preset), "--id", RUN, "--resume-or-start", "--runs-dir", str(runs)]


def tool(name):
    """The path of a program; the test is skipped without it."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"not reached: there is no {name} here")
    return found


def empty_disk(file_system, folder):
    """A file that holds an empty file system."""
    size, (make, *options) = FILE_SYSTEMS[file_system]
    image = folder / "image"
    image.touch()
    os.truncate(image, size)
    subprocess.run([tool(make), *options, str(image)], check=True, timeout=60)
    return image


@contextlib.contextmanager
def mounted(image, file_system, where, options="loop"):
    where.mkdir(exist_ok=True)
    if file_system == "xfs":  # another mount namespace may still hold the state before, of the same UUID
        options = f"{options},nouuid"
    mount = ["mount", "-t", file_system, "-o", options, str(image), str(where)]
    done = subprocess.run(mount, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise OSError(done.stderr.strip())
    try:
        yield where
    finally:
        done = subprocess.run(["umount", str(where)], capture_output=True, text=True, timeout=60)
        if done.returncode:  # a process that still uses the disk is part of the failure; do not let it block the others
            subprocess.run(["umount", "--lazy", str(where)], check=True, timeout=60)
    assert not done.returncode, done.stderr


@pytest.fixture(scope="module")
def disk(tmp_path_factory, as_root):
    disks = Disks(tmp_path_factory.mktemp("disks"))
    if disks.problem:
        pytest.skip(f"not reached: these tests may not mount a file system ({disks.problem})")
    yield disks
    disks.close()


@pytest.fixture(scope="module")
def record(disk, start, settings, tmp_path_factory):
    """Record a run on a file system, `without` some function of the engine; each combination once."""
    made = {}

    def get(file_system, *without):
        if (file_system, without) not in made:
            folder = tmp_path_factory.mktemp(file_system)
            made[file_system, without] = record_run(disk, start, settings, folder, file_system, without)
        return made[file_system, without]

    return get


def record_run(disk, start, settings, folder, file_system, without):
    name, empty = f"{folder.name}-run", empty_disk(file_system, folder)
    for one in (name, f"{name}-base", f"{name}-tried"):
        disk.ask("load", one, str(empty))
    try:
        with mounted(disk.folder / f"{name}-tried", file_system, folder / "mounted"):
            pass
    except OSError as error:
        pytest.skip(f"not reached: these tests may not mount {file_system} ({error})")
    recording = Recording(file_system, disk, name)
    with mounted(disk.folder / name, file_system, folder / "mounted") as top:
        run = RunDirectory(top / "runs" / RUN)
        words = train_words(settings, run.path.parent)
        events = EventReader(run.events())
        while (code := record_attempt(recording, start(*words, without=without), run, events)) != 0:
            assert code == 5, "preempted, as asked"
        recording.length = disk.ask("length", name)
        recording.events, recording.weights = story(run), newest_weights(run)
    return recording


def record_attempt(recording, command, run, events):
    """Follow the command, preempt its first attempt, and note the checkpoints that it announces; its exit code."""
    preempted = done = False
    while not done:
        done = command.poll() is not None
        for event in events.poll():
            if isinstance(event.body, CheckpointSaved):
                length = recording.disk.ask("length", recording.name)
                best = event.step if event.body.best else recording.known_at(length).best
                recording.announced.append(Announced(length, event.step, best))
            elif isinstance(event.body, Metrics) and not preempted:
                preempted = event.attempt == 1 and event.step >= PREEMPTED_AT
                if preempted:
                    with contextlib.suppress(ProcessLookupError):  # it has already ended
                        os.kill(last_attempt(run).process.pid, signal.SIGTERM)
        time.sleep(0.002)
    command.communicate()
    return command.returncode


@dataclass(frozen=True)
class Loss:
    """A power loss after `at` writes and flushes; `kept` says what remains of the writes after the last flush."""

    at: int
    how: str
    kept: dict[int, list[int] | None]


def draw_loss(recording, log, draw, how):
    at = draw.randrange(recording.length + 1)
    flushed = max((number for number in range(at) if log[number] is None), default=-1)
    loose = range(flushed + 1, at)
    kept = {}
    if how == "all":
        kept = dict.fromkeys(loose)
    elif how in ("random", "torn"):
        kept = dict.fromkeys(number for number in loose if draw.random() < 0.5)
    if how == "torn":
        for number in kept:
            sectors = log[number][1] // SECTOR
            cut = draw.randrange(sectors + 1)
            kept[number] = draw.choice([list(range(cut)), list(range(cut, sectors))])
    return Loss(at, how, kept)


def broken_promises(recording, known, run):
    """The broken promises in the files that the power loss left."""
    broken = []
    for path in run.path.rglob("*.json") if run.run_json.exists() else ():
        with contextlib.suppress(FileNotFoundError):
            try:
                json.loads(path.read_bytes())
            except ValueError:
                broken.append(f"{path.relative_to(run.path)} is half written")
    newest, skipped = checkpoint.find_newest(run.checkpoints)
    broken += skipped
    step, epoch = (newest.progress.step, newest.progress.epoch) if newest else (0, 0)
    if step < known.step:
        broken.append(f"the newest checkpoint is of step {step}, and step {known.step} was announced")
    best = checkpoint.find_best(run.checkpoints)
    if (best.progress.step if best else 0) < known.best:
        broken.append(f"the best checkpoint is {best and best.path.name}, and that of step {known.best} was announced")
    events, expected = (
        [one for one in entries if one["step"] <= step and (one["kind"] != "validation" or one["epoch"] <= epoch)]
        for entries in (story(run), recording.events)
    )
    if events != expected:
        broken.append(f"{len(events)} of {len(expected)} metrics up to step {step} are there")
    return broken


def broken_after_resume(recording, command, run):
    """The broken promises after `--resume-or-start`."""
    output, _ = command.communicate()
    if command.returncode:
        return [f"--resume-or-start ended with {command.returncode}: {output[-600:]}"]
    broken = []
    if story(run) != recording.events:
        broken.append("the resumed run has another story")
    ours = newest_weights(run)
    if not all(torch.equal(ours[name], tensor) for name, tensor in recording.weights.items()):
        broken.append("the resumed run has other weights")
    best, summary = checkpoint.find_best(run.checkpoints), read_summary(run)
    if best is None or summary is None or best.progress.epoch != summary.best.epoch:
        broken.append("the resumed run has no best checkpoint, or another")
    starts = [event.attempt for event in events_of(run, RunStart)]
    if len(set(starts)) < len(starts):
        broken.append(f"two attempts have the same number: {starts}")
    return broken


def replay(recording, start, settings, folder, losses, resume_every):
    """The broken promises after these power losses."""
    disk = recording.disk
    for number, loss in enumerate(losses):
        state = f"{recording.name}-{number}"
        disk.ask("crash", recording.name, f"{recording.name}-base", loss.at, loss.kept, state)
        with mounted(disk.folder / state, recording.file_system, folder / "mounted") as top:
            run = RunDirectory(top / "runs" / RUN)
            broken = broken_promises(recording, recording.known_at(loss.at), run)
            if number % resume_every == 0:
                broken += broken_after_resume(recording, start(*train_words(settings, run.path.parent)), run)
        disk.ask("remove", state)
        yield from (f"{loss.at} of {recording.length}, {loss.how}: {text}" for text in broken)


def test_a_resume_without_the_last_events_and_the_best_reports_the_gap_and_restores_the_best(start, settings, tmp_path):
    """As on a disk that reported writes as done before they were: the events of half an epoch are lost."""
    run, words = RunDirectory(tmp_path / RUN), [*train_words(settings, tmp_path), *IDLE]  # slow enough to be preempted
    command = start(*words)
    events = EventReader(run.events())
    while not any(isinstance(event.body, Metrics) and event.step >= PREEMPTED_AT for event in events.poll()):
        assert command.poll() is None
        time.sleep(0.002)
    os.kill(last_attempt(run).process.pid, signal.SIGTERM)
    assert command.wait() == 5
    stopped = checkpoint.find_newest(run.checkpoints)[0]
    assert stopped is not None
    lines = run.events().read_bytes().splitlines(keepends=True)
    lost_from = next(number for number, line in enumerate(lines) if b'"step": 3' in line)
    run.events().write_bytes(b"".join(lines[:lost_from]))
    best = checkpoint.find_best(run.checkpoints)
    assert best is not None
    source = run.checkpoints / f"step-{best.progress.step:08}"
    if not source.exists():  # it was pruned
        shutil.copytree(best.path, source)
    (best.path / "optimizer.pt").unlink()

    command = start(*words)
    output, _ = command.communicate()
    assert command.returncode == 0, output
    step = stopped.progress.step
    assert f"events between step 2 and the checkpoint of step {step} are lost: curves have a gap there" in output
    assert f"made again from {source.name}" in output
    best, summary = checkpoint.find_best(run.checkpoints), read_summary(run)
    assert best is not None and summary is not None and best.progress.epoch == summary.best.epoch
    curve = read_history(run).curves["train/loss"]
    assert curve.step.tolist() == [1, 2, step, *range(step + 1, 25)]
    assert curve.step[np.isnan(curve.value)].tolist() == [step]


HOWS = ("none", "all", "random", "torn")


def draw_losses(recording, draw, count):
    log = recording.disk.ask("log", recording.name)
    return (draw_loss(recording, log, draw, HOWS[number % len(HOWS)]) for number in range(count))


@pytest.mark.parametrize("file_system", FILE_SYSTEMS if WHOLE else ["ext4"])
def test_a_power_loss_takes_nothing_announced(file_system, record, start, settings, tmp_path, draw, trials):
    """And the run goes on; with few trials only every fifth is resumed, which takes longer than everything else."""
    recording = record(file_system)
    losses = draw_losses(recording, draw, 2 * trials)
    broken = list(replay(recording, start, settings, tmp_path, losses, resume_every=1 if WHOLE else 5))
    assert not broken, "\n".join(broken)
    print(
        f"{file_system}: {2 * trials} power losses among {recording.length} writes and flushes, and nothing is missing"
    )


@pytest.mark.parametrize(("file_system", "left_out", "harm"), CONTROLS if WHOLE else CONTROLS[:1])
def test_one_forgotten_sync_is_found(file_system, left_out, harm, record, start, settings, tmp_path, draw):
    """The control: finding nothing means something only if the replay would find this."""
    recording = record(file_system, left_out)
    found = replay(recording, start, settings, tmp_path, draw_losses(recording, draw, 100), resume_every=1)
    assert any(harm in text for text in found)
