"""Real runs of one and two processes with loader workers and augmentation, and what must hold however they end."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from typer.testing import CliRunner

from rbp_engine.errors import UserError
from rbp_engine.preset import load_preset
from rbp_engine.run.files.attempts import Asked, last_attempt
from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.files.events import CheckpointSaved, RunStart
from rbp_engine.run.files.layout import CHECKPOINT
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge
from rbp_engine.train.checkpoints import checkpoint
from rbp_tui.cli import app
from tests.real.warm_python import COMMAND
from tests.run_files import bodies_of, events_of, newest_weights, story
from tests.waiting import PATIENCE_S, wait_for

# `make faults` sets it to 50: the number of kills and resumes.
TRIALS = int(os.environ.get("RBP_FAULT_TRIALS", "5"))
PRESET = """
[data]
name = "fake"
size = 8
args = {train_size = 96, test_size = 24, classes = 4}
batch_size = 16
crop_padding = 1
flip = true
augment_backend = "pil"
workers = 1
[method]
timesteps = 2
[train]
epochs = 8
log_every = 1
sync_bn = true
[run]
device = "cpu"
"""


@pytest.fixture(scope="session")
def trials():
    return TRIALS


@pytest.fixture(scope="session", autouse=True)
def settings(tmp_path_factory):
    """A separate settings folder, and one thread, because a second one only slows such small steps down."""
    folder = tmp_path_factory.mktemp("settings")
    (folder / "preset.toml").write_text(PRESET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RBP_CONFIG", str(folder / "config"))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        yield folder


class Job:
    """A run of `nproc` processes, with 8 epochs of 6 steps; further words change its preset."""

    def __init__(self, settings, runs, nproc, *words):
        self.resources = Resources(processes=nproc)
        self.run = launch.create(
            load_preset(str(settings / "preset.toml"), words), runs, asked=Asked(resources=self.resources)
        )
        self.process = None
        self.stop_took_s = 0.0

    def start(self):
        """Start the next attempt."""
        self.process = launch.start(self.run)

    def train(self):
        """Start the next attempt, and wait until it trains or has ended."""
        self.start()
        self.wait_for_start()

    def wait_until(self, condition, patience_s=PATIENCE_S):
        """Wait for the condition and return its first true value."""
        return wait_for(condition, patience_s, lambda: (judge(self.run), self.logs()), 0.005)

    def wait_for_start(self):
        """Wait until the newest attempt trains or has ended."""
        self.wait_until(lambda: self.summary.attempt in self.attempts_begun() or not judge(self.run).live)

    def attempts_begun(self):
        return {event.attempt for event in events_of(self.run, RunStart)}

    @property
    def summary(self):
        summary = read_summary(self.run)
        assert summary is not None
        return summary

    @property
    def saved_step(self):
        found, _ = checkpoint.find_newest(self.run.checkpoints)
        return 0 if found is None else found.progress.step

    def ranks(self):
        """The processes that train, in the order of their ranks, as far as they exist."""
        worker = psutil.Process(last_attempt(self.run).process.pid)
        if self.resources.processes == 1:
            return [worker]
        with contextlib.suppress(psutil.Error):
            return sorted(worker.children(), key=lambda process: int(process.environ()["RANK"]))
        return []

    def loaders(self):
        """The processes that read images; each epoch starts new ones."""
        with contextlib.suppress(psutil.Error):
            return [child for rank in self.ranks() for child in rank.children()]
        return []

    def end(self):
        """Wait for the end of the run and return the verdict."""
        self.wait_until(lambda: not judge(self.run).live)
        return judge(self.run)

    def check_end(self, *statuses):
        """Check that the run ends with one of the statuses and leaves only what it should; see `check_left`."""
        verdict = self.end()
        assert verdict.status in statuses, (verdict, self.logs())
        self.wait_until(lambda: not processes.processes_of(self.run), patience_s=30)
        assert judge(self.run) == verdict
        if self.process is not None:
            self.process.wait(30)
        check_left(self.run, verdict)
        return verdict

    def check_stop_took(self, seconds):
        """Check that a stop, which took so many seconds, took no longer than a step, a save and 5 s."""
        self.stop_took_s = seconds
        saves = [body.save_ms for body in bodies_of(self.run, CheckpointSaved)]
        allowed_s = 5.0 + ((self.summary.step_ms or 0.0) + (saves[-1] or 0.0 if saves else 0.0)) / 1000.0
        assert seconds <= allowed_s, (seconds, allowed_s)

    def story(self):
        return story(self.run)

    def weights(self):
        found, skipped = checkpoint.find_newest(self.run.checkpoints)
        assert found is not None and skipped == [] and found.world_size == self.resources.processes
        return newest_weights(self.run)

    def check_prefix(self, reference):
        """Check that this run has so far learned the same as the uninterrupted one, bit for bit."""
        own_story = self.story()
        assert own_story == reference.story()[: len(own_story)]

    def check_same(self, reference):
        """Check that the completed run equals the uninterrupted one, bit for bit."""
        assert self.story() == reference.story()
        expected, found = reference.weights(), self.weights()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        ours, theirs = self.summary, reference.summary
        assert (ours.last, ours.best, ours.train) == (theirs.last, theirs.best, theirs.train)
        best, their_best = (checkpoint.find_best(one.run.checkpoints) for one in (self, reference))
        assert best is not None and their_best is not None and best.progress == their_best.progress
        sequence = [event.seq for event in EventReader(self.run.events()).poll()]
        assert sequence == list(range(len(sequence)))

    def logs(self):
        """The end of the newest logs, for the message of a failed test."""
        paths = sorted(self.run.ranks.rglob("*.log"), key=lambda path: path.stat().st_mtime)
        return "\n".join(f"{path}:\n{path.read_text(errors='replace')[-1500:]}" for path in paths[-4:])


def check_left(run, verdict):
    """Check what holds for every ended run: whole checkpoints, and a message with the reason and the next step."""
    _, skipped = checkpoint.find_newest(run.checkpoints)
    assert skipped == []
    for path in run.checkpoints.iterdir():
        if CHECKPOINT.fullmatch(path.name):
            checkpoint.verify(path)
        else:
            assert path.suffix == ".tmp" or path.name in ("best", "best.old")
    shown = rbp(run.path.parent, "show", run.id).output
    assert verdict.status in shown
    if verdict.status != "completed":
        assert verdict.reason and " ".join(verdict.reason.split())[:30] in " ".join(shown.split())
        assert (f"rbp resume {run.id[-4:]}" in shown) != verdict.cause.wants_new_run


def rbp(runs, *words):
    """Run a command in this process; it may only end normally or with a message for the user."""
    done = CliRunner().invoke(app, [*words, "--runs-dir", str(runs)], env={"COLUMNS": "200"})
    error = done.exception
    if error is not None and not isinstance(error, (SystemExit, UserError)):
        raise AssertionError(f"rbp {' '.join(words)}: {type(error).__name__}: {error}") from error
    assert "Traceback (most recent call last)" not in done.output
    return done


@pytest.fixture(name="rbp", scope="session")
def rbp_fixture():
    return rbp


@pytest.fixture
def new_job(settings, tmp_path):
    """Make a job; the test's end kills what is left of it."""
    made = []

    def make(nproc, *words, runs=tmp_path / "runs"):
        made.append(Job(settings, runs, nproc, *words))
        return made[-1]

    yield make
    for job in made:
        for process in processes.processes_of(job.run):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)
        processes.kill_all(job.run)


@pytest.fixture(scope="session")
def reference(settings, tmp_path_factory):
    """An uninterrupted job of this many processes."""
    made = {}

    def get(nproc):
        if nproc not in made:
            made[nproc] = Job(settings, tmp_path_factory.mktemp("reference"), nproc)
            made[nproc].start()
        made[nproc].check_end("completed")
        return made[nproc]

    return get


@pytest.fixture
def draw(request):
    """Draws the same numbers each time that a test is run."""
    return random.Random(request.node.name)


def start(*words, without=()):
    """Start `rbp`, with its output and errors in one stream; see without.py."""
    code = f"from tests.faults.without import leave_out; leave_out(*{without}); " if without else ""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", code + COMMAND, *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )  # fmt: skip


@pytest.fixture(name="start", scope="session")
def start_fixture():
    return start
