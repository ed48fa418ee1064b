"""Eight processes that all want to be the dispatcher of one folder of jobs, and are killed now and then: each job is
started once.

Dispatchers, locks, claims and starters are real; the worker that a starter starts only writes down that it was started.
`make races` does it with 200 jobs.
"""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from rbp_engine.preset import load_preset
from rbp_engine.run.files.attempts import Asked, newest_attempt
from rbp_engine.run.files.run_json import Dispatch, Resources
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.queue import dispatcher
from rbp_engine.run.queue.entries import entries, new_entry, write_entry
from rbp_engine.run.queue.host_lock import be_dispatcher, host_directory, locked
from rbp_engine.run.queue.host_lock import dispatcher as living_dispatcher
from rbp_engine.run.queue.transitions import WAITS
from rbp_engine.run.status.status import judge

JOBS = int(os.environ.get("RBP_RACING_JOBS", "6"))
RACERS, SLOTS = 8, 6
FORK = multiprocessing.get_context("fork")
#: An interpreter that runs the module of a starter as it is, but as if it were itself the one that Python runs in: the
#: worker that is then started with it writes a line, and is gone after a moment.
PYTHON = """#!/bin/sh
case "$3" in
*start_queued) exec {python} -P -c '
import sys
from pathlib import Path
sys.executable = sys.argv[1]
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.queue.start_queued import start_queued
start_queued(RunDirectory(Path(sys.argv[2])))' "$0" "$4" ;;
*) for run; do :; done; echo "$3 $run" >> {started}; exec sleep 0.2 ;;
esac
"""


def queue_jobs(home, count, python=PYTHON):
    """Queue jobs of an interpreter; how often the worker of each has been started."""
    (home / "machine.toml").write_text(f"cpu_slots = {SLOTS}\n")
    script, lines = home / "python", home / "started"
    script.write_text(python.format(python=sys.executable, started=lines))
    script.chmod(0o755)
    lines.touch()
    preset = load_preset("digits")
    for number in range(count):
        run = launch.create(preset, home / "runs", run_id=f"job-{number}")
        with locked():
            entry = new_entry(run, Asked(resources=Resources(1 + (number % 5 == 0)), dispatch=Dispatch("none")))
            write_entry(replace(entry, python=str(script)))
            write_status(run, "queued", WAITS)
    marks = "rbp_engine.train.worker ", "torch.distributed.run "  # the launcher of several
    return lambda: Counter(Path(line).name for line in lines.read_text().splitlines() if line.startswith(marks))


@pytest.fixture
def started(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path))
    return queue_jobs(tmp_path, JOBS)


def race():
    """Be the dispatcher as soon as there is none, as long as there are jobs."""
    sys.stdout = open(host_directory() / f"log-{os.getpid()}", "w")  # noqa: SIM115, PTH123
    while entries():
        dispatcher.main()
        time.sleep(random.uniform(0.0, 0.5))


def start_racer():
    racer = FORK.Process(target=race, daemon=True)
    racer.start()
    return racer


def test_of_eight_racing_processes_each_job_is_started_once(started):
    racers = [start_racer() for _ in range(RACERS)]
    moments, killed = random.Random(3), 0
    deadline = time.monotonic() + 120 + 10 * JOBS
    while entries():
        assert time.monotonic() < deadline, f"{len(entries())} jobs are left"
        time.sleep(moments.uniform(0.2, 2.0))
        process = living_dispatcher()
        if process is not None and process.pid is not None and killed < JOBS / 8:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
            racers.append(start_racer())
    for racer in racers:
        racer.join(60)
    jobs = {f"job-{number}" for number in range(JOBS)}
    assert started() == Counter(jobs)
    runs = [path for path in sorted((host_directory().parents[3] / "runs").iterdir()) if path.name in jobs]
    assert len(runs) == JOBS
    for path in runs:
        run = launch.RunDirectory(path)
        assert newest_attempt(run) == 1
        assert judge(run).status == "lost"  # its worker was gone without a word, and nobody has restarted it
    assert killed
    print(f"{JOBS} jobs, {RACERS} processes, {killed} dispatchers killed")


def test_a_second_dispatcher_leaves_at_once(started):
    lease = be_dispatcher()
    assert lease is not None
    second = FORK.Process(target=dispatcher.main, daemon=True)
    second.start()
    second.join(60)
    assert second.exitcode == 0 and started() == Counter()
    lease.release()
