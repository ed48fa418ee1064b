"""Runs that are killed again and again must come out as the one that nobody has touched."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from rbp_engine.run import launch
from rbp_engine.run.events import EventReader, RunStart
from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.status import judge
from rbp_engine.run.summary import read_summary
from rbp_engine.train import checkpoint

NewRun = Callable[..., RunDirectory]
STEPS = 12  # of an epoch


def starting(run: RunDirectory, look: Any, draw: random.Random) -> None:
    time.sleep(draw.uniform(0.0, 3.0))


def training(run: RunDirectory, look: Any, draw: random.Random) -> None:
    look.first(run, RunStart, attempt=attempts(run))
    time.sleep(draw.uniform(0.0, 1.2))


def validating(run: RunDirectory, look: Any, draw: random.Random) -> None:
    """The summary is written when the last step of an epoch is done."""
    look.first(run, RunStart, attempt=attempts(run))
    first = summary_step(run)
    look.wait_until(lambda: has_ended(run) or (summary_step(run) > first and summary_step(run) % STEPS == 0))
    time.sleep(draw.uniform(0.0, 0.05))


def saving(run: RunDirectory, look: Any, draw: random.Random) -> None:
    look.first(run, RunStart, attempt=attempts(run))
    deadline = time.monotonic() + 60
    while not list(run.checkpoints.glob("*.tmp")) and not has_ended(run):
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    time.sleep(draw.uniform(0.0, 0.02))


def attempts(run: RunDirectory) -> int:
    summary = read_summary(run)
    assert summary is not None
    return summary.attempt


def summary_step(run: RunDirectory) -> int:
    summary = read_summary(run)
    assert summary is not None
    return summary.step


def has_ended(run: RunDirectory) -> bool:
    return not judge(run).live


def kill(worker: "subprocess.Popen[bytes]") -> None:
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(60)


def check(run: RunDirectory, reference: RunDirectory, look: Any) -> None:
    assert look.story(run) == look.story(reference)
    expected = look.weights(reference)
    found = look.weights(run)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    sequence = [event.seq for event in EventReader(run.events()).poll()]
    assert sequence == list(range(len(sequence)))
    ours, theirs = read_summary(run), read_summary(reference)
    assert ours is not None and theirs is not None
    assert (ours.last, ours.best, ours.train) == (theirs.last, theirs.best, theirs.train)
    best, their_best = (checkpoint.find_best(one.checkpoints) for one in (run, reference))
    assert best is not None and their_best is not None and best.progress == their_best.progress
    assert sorted(path.name for path in run.checkpoints.iterdir())[0] == "best"
    assert len(list(run.checkpoints.iterdir())) == 3


@pytest.mark.parametrize("trial", range(4))
def test_a_run_that_is_killed_five_times_comes_out_as_the_uninterrupted_one(
    trial: int, reference: RunDirectory, new_run: NewRun, look: Any
) -> None:
    draw = random.Random(trial)
    interval = "1s" if trial % 2 else "1 epoch"
    moments = [starting, training, validating, saving, draw.choice([training, validating, saving])]
    draw.shuffle(moments)
    run = new_run(f"train.checkpoint_every={interval}")
    before = 0
    for moment in moments:
        worker = launch.start(run)
        moment(run, look, draw)
        kill(worker)
        verdict = judge(run)
        if verdict.status == "completed":  # it was faster
            check(run, reference, look)
            run, before = new_run(f"train.checkpoint_every={interval}"), 0
            continue
        assert verdict.status == "lost"
        found, skipped = checkpoint.find_newest(run.checkpoints)
        assert skipped == []
        step = 0 if found is None else found.progress.step
        assert step >= before
        before = step
    launch.start(run)
    assert look.end(run).status == "completed"
    check(run, reference, look)
