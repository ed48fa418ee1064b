"""Processes that hang, and clocks that are wrong."""

import os
import signal
import time
from pathlib import Path

import pytest
from idle import IDLE

from rbp_engine.run import control
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.files.events import WarningRaised
from rbp_engine.run.launch import launch, torchrun
from rbp_engine.run.status import processes, status
from rbp_engine.run.status.status import judge
from tests.stopping import stop

LONG = ("epochs=5000", "train.checkpoint_every=1 h", *IDLE)


@pytest.fixture
def impatient(monkeypatch):
    """Runs stall after two seconds without a step, for their workers and for the test."""
    monkeypatch.setattr(torchrun, "WORKER", "impatient_worker")
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(status, "STALLED_AFTER_S", 2.0)


def stalls(job, since):
    """The stall warnings of all ranks since this moment."""
    return [
        event.body.message
        for rank in job.run.ranks_with_events()
        for event in EventReader(job.run.events(rank)).poll()
        if isinstance(event.body, WarningRaised) and "no step for" in event.body.message and event.t > since
    ]


def test_a_hung_collective_is_reported_with_the_waiting_stack_and_can_recover_or_be_killed(new_job, impatient):
    job = new_job(2, *LONG)
    job.train()
    job.wait_until(lambda: job.summary.step > 3)
    _, second = job.ranks()
    stopped = time.time()  # on a busy machine, two seconds may also pass before the first step
    second.send_signal(signal.SIGSTOP)
    job.wait_until(lambda: judge(job.run).status == "stalled")
    assert "no step for" in judge(job.run).reason
    [warning] = job.wait_until(lambda: stalls(job, stopped))
    stacks = Path(warning.split(" is in ")[1]).read_text()
    assert "most recent call first" in stacks and "trainer.py" in stacks
    hung = job.summary.step

    second.send_signal(signal.SIGCONT)
    job.wait_until(lambda: job.summary.step > hung + 3 and judge(job.run).status == "running")

    second.send_signal(signal.SIGSTOP)
    job.wait_until(lambda: judge(job.run).status == "stalled")
    with pytest.raises(RunError, match=f"has not stopped within 1 s: rbp stop --now {job.run.id}"):
        stop(job.run, patience_s=1.0)
    assert control.kill(job.run).status == "killed"
    job.check_end("killed")


def test_a_suspended_worker_looks_lost_until_it_continues_whatever_the_clock_says(new_job):
    job = new_job(1, *LONG)
    job.train()
    job.wait_until(lambda: job.summary.step > 3)
    job.ranks()[0].send_signal(signal.SIGSTOP)
    before = job.summary.step
    verdict = judge(job.run, now=time.time() + 40)
    assert verdict.cause is Cause.UNRESPONSIVE
    assert verdict.status == "lost" and f"but process {job.process.pid} is there" in verdict.reason
    with pytest.raises(RunError, match="running already"):
        launch.start(job.run)
    job.ranks()[0].send_signal(signal.SIGCONT)
    job.wait_until(lambda: job.summary.step > before)

    for now in (time.time() - 86_400, 0.0):  # the reader's clock is behind the writer's
        assert judge(job.run, now=now).status == "running"
    with pytest.raises(RunError, match="running already"):
        launch.start(job.run)
    assert stop(job.run).status == "stopped"
    job.check_end("stopped")
    assert not processes.processes_of(job.run)


def test_processes_that_were_frozen_while_their_run_was_started_again_say_so_and_write_nothing_more(new_job):
    """On another host, to which frozen processes look like dead ones."""
    job = new_job(2, *LONG)
    job.train()
    job.wait_until(lambda: job.summary.step > 3)
    ranks = job.ranks()
    for process in ranks:
        process.send_signal(signal.SIGSTOP)
    job.run.attempt(2).touch()
    files, logs = written(job.run.path)
    for process in ranks:
        process.send_signal(signal.SIGCONT)
    job.process.wait(60)
    later_files, later_logs = written(job.run.path)
    assert later_files == files
    for name in (name for name in logs if name.endswith("stdout.log")):
        said = later_logs[name].removeprefix(logs[name]).decode()
        assert "attempt 1 ends here: the run was started again meanwhile" in said, name
    assert not processes.processes_of(job.run)


def written(run):
    """The files of a run, and its logs."""
    found = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    logs = {name: content for name, content in found.items() if name.startswith("ranks/")}
    return {name: content for name, content in found.items() if name not in logs}, logs
