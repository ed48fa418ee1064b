"""Run folders as a worker and its manager leave them, written by the same code, without a worker."""

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from rbp_engine import os_process
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary, write_summary
from rbp_engine.run.status import processes
from tests.packed_runs import make_run_to_pack
from tests.run_files import change_summary, write_attempt, write_identity

PROCESS = ("pid", "started", "boot", "namespace", "host")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """State and settings of the user are below the test's folder, and there are none yet."""
    for name, folder in {"XDG_STATE_HOME": "state", "RBP_CONFIG": "config"}.items():
        monkeypatch.setenv(name, str(tmp_path / folder))


@pytest.fixture
def nest():
    """Make 1500 folders in each other, of which Python's own walks and removals are recursive; they go in the end."""
    with contextlib.ExitStack() as stack:

        def make(folder: Path) -> None:
            stack.callback(subprocess.run, ["rm", "-rf", folder / "a"], check=True)
            here = os.open(folder, os.O_RDONLY)
            for _ in range(1500):
                os.mkdir("a", dir_fd=here)
                above, here = here, os.open("a", os.O_RDONLY, dir_fd=here)
                os.close(above)
            os.close(here)

        yield make


@pytest.fixture
def ended_pid():
    """The pid of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(60)
    return process.pid


@pytest.fixture
def make_run(tmp_path):
    """Make the folder of a run in `runs/`, by default with this process as its worker; keywords change the summary.

    `attempt` changes the record of the attempt, also its process, by the names of PROCESS; empty, there is none.
    """

    def make(
        run_id: str = "20260101-120000-digits-rate_m-0a1b", *, attempt: Any = None, **changes: Any
    ) -> RunDirectory:
        run = RunDirectory(tmp_path / "runs" / run_id)
        for folder in (run.attempts, run.control, run.checkpoints, run.events().parent, run.stdout().parent):
            folder.mkdir(parents=True)
        values = {"id": run_id, "preset": "digits", "experiment": "e", "method": "rate_m", "timesteps": 4, "seed": 1}
        summary = Summary(**(values | {"status": "running"} | changes))
        updated = summary.updated
        write_identity(run, summary)
        write_summary(run, summary)
        if "updated" in changes:  # write_summary sets it to now
            change_summary(run, updated=updated)
        changed = dict(attempt or {})
        process = {name: changed.pop(name) for name in PROCESS if name in changed}
        if attempt != {}:
            number = changed.pop("attempt", 1)
            for before in range(1, number):
                write_attempt(run, before)
            write_attempt(run, number, **({"process": asdict(os_process.here()) | process} | changed))
        return run

    return make


@pytest.fixture
def packed_run(tmp_path):
    return make_run_to_pack(tmp_path)


@pytest.fixture
def sleeper():
    """Start a process that carries a run's marker and does nothing else."""
    started = []

    def start(run: RunDirectory) -> "subprocess.Popen[bytes]":
        started.append(
            subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=processes.marker(run))
        )
        deadline = time.monotonic() + 30
        while not processes.processes_of(run):  # between fork and exec it still has our environment
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=60)
