"""A process that saves in a loop, killed at random moments."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from rbp_engine.methods import create_method
from rbp_engine.run.files.layout import CHECKPOINT
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.checkpoints.state import State
from tests.waiting import wait_for

# Imports torch once; then, for each folder that it reads, forks a child that saves there until it is killed. The
# content of a checkpoint follows from its step, so a reader can tell whether it belongs to it.
SAVER = """
import os, sys
from pathlib import Path
import torch
from rbp_engine.methods import create_method
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.checkpoints.state import State
torch.set_num_threads(1)
torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)  # imports a lot, once for all children
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        folder = Path(line.strip())
        found, _ = checkpoint.find_newest(folder)
        step = found.progress.step if found else 0
        if found and step % 3 == 0:
            checkpoint.keep_as_best(found)
        model = torch.nn.Linear(100, 100)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        method = create_method("rate_m", 2)
        checkpoint.remove_leftovers(folder)
        while True:
            step += 1
            with torch.no_grad():
                model.weight.fill_(step)
            progress = checkpoint.Progress(step, step // 3, step % 3)
            saved = checkpoint.save(folder, State(model, method, optimizer), progress, {"step": step}, experiment="e")
            if step % 3 == 0:
                checkpoint.keep_as_best(saved)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


@pytest.fixture(scope="module")
def saver():
    command = [sys.executable, "-c", SAVER]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate(timeout=60)


def save_until_killed(saver, folder, delay):
    """Start saving, and kill the process `delay` seconds after the next checkpoint appears."""
    assert saver.stdin is not None and saver.stdout is not None
    before = set(folder.glob("step-*"))
    saver.stdin.write(f"{folder}\n")
    saver.stdin.flush()
    child = int(saver.stdout.readline())
    wait_for(lambda: {path for path in folder.glob("step-*") if path.suffix != ".tmp"} - before, pause_s=0.0005)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    assert saver.stdout.readline() == "gone\n"


def test_after_a_kill_in_a_save_there_is_a_whole_checkpoint_no_older_than_before(saver, tmp_path, trials):
    """It always uses the same folder, so that each save meets what the last kill left."""
    draw = random.Random(5)
    previous = 0
    caught_in_a_save = 0
    for trial in range(2 * trials):
        save_until_killed(saver, tmp_path, draw.uniform(0, 0.03))
        caught_in_a_save += any(path.suffix == ".tmp" for path in tmp_path.iterdir())
        found, skipped = checkpoint.find_newest(tmp_path)
        assert found is not None, trial
        assert skipped == [], trial
        assert found.progress.step > previous, trial
        for path in tmp_path.iterdir():
            if CHECKPOINT.fullmatch(path.name):
                checkpoint.verify(path)  # none is partly pruned
        previous = found.progress.step
        model = torch.nn.Linear(100, 100)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        extra = checkpoint.load(found, State(model, create_method("rate_m", 2), optimizer))
        assert extra == {"step": previous}
        assert bool((model.weight == previous).all())
        assert found.progress == Progress(previous, previous // 3, previous % 3)
        best = checkpoint.find_best(tmp_path)
        assert best is not None or previous < 4, trial
        if best is not None:
            assert best.progress.step % 3 == 0 and best.progress.step >= previous - 3, trial
    assert caught_in_a_save, "no kill came during a save: the moments are badly chosen"
    print(f"{2 * trials} kills, {caught_in_a_save} of them during a save; the newest checkpoint whole and never older")
