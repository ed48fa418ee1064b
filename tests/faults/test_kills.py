"""Runs that are killed, stopped and preempted again and again come out as the one that nobody has touched."""

import contextlib
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from rbp_engine.run import control
from rbp_engine.run.status import judge

NewJob = Callable[..., Any]
STEPS = 6  # of an epoch


def starting(job: Any, draw: random.Random) -> None:
    time.sleep(draw.uniform(0.0, 3.0))


def training(job: Any, draw: random.Random) -> None:
    job.wait_for_start()
    time.sleep(draw.uniform(0.0, 1.0))


def in_mid_epoch(job: Any, draw: random.Random) -> None:
    """Somewhere behind a checkpoint that lies between the ends of an epoch, most likely."""
    job.wait_for_start()
    time.sleep(draw.uniform(0.0, 0.5))
    job.run.checkpoint_request.touch()
    job.wait_until(lambda: not job.run.checkpoint_request.exists() or not judge(job.run).live)
    time.sleep(draw.uniform(0.0, 0.3))


def validating(job: Any, draw: random.Random) -> None:
    """The summary is written when the last step of an epoch is done."""
    job.wait_for_start()
    first = job.summary.step
    job.wait_until(lambda: not judge(job.run).live or (job.summary.step > first and job.summary.step % STEPS == 0))
    time.sleep(draw.uniform(0.0, 0.05))


def saving(job: Any, draw: random.Random) -> None:
    job.wait_for_start()
    job.wait_until(lambda: list(job.run.checkpoints.glob("*.tmp")) or not judge(job.run).live)
    time.sleep(draw.uniform(0.0, 0.02))


# Whom to kill, and the status and words that the run must end with.
Victim = tuple[psutil.Process, str, str]


def worker(job: Any, draw: random.Random) -> Victim:
    """The single process of a run, or the launcher of several."""
    return psutil.Process(job.process.pid), "lost", "gone without a word"


def rank(job: Any, draw: random.Random) -> Victim:
    chosen = draw.choice(job.ranks())
    number = chosen.environ()["RANK"]
    return chosen, "killed", f"process {number} was ended by signal 9 (SIGKILL: probably out of memory)"


def loader(job: Any, draw: random.Random) -> Victim:
    """One of the processes that read images."""
    return draw.choice(job.loaders()), "failed", "a process that reads images was killed"


def kill(job: Any, draw: random.Random, moment: Any, find: Callable[..., Victim]) -> str:
    """SIGKILL; the status that it has come to. There may be nobody to kill at that moment: then a little later."""
    moment(job, draw)
    status = words = ""
    while judge(job.run).live and not status:
        with contextlib.suppress(psutil.Error, IndexError, KeyError):
            process, expected, words = find(job, draw)
            process.kill()
            status = expected
    verdict = job.check_end("completed", status or "completed")
    assert verdict.status == "completed" or words in verdict.reason, (verdict, words)
    return str(verdict.status)


@pytest.mark.parametrize("nproc", [1, 2])
def test_a_run_that_is_killed_wherever_it_stands_comes_out_as_the_uninterrupted_one(
    nproc: int, reference: Any, new_job: NewJob, draw: random.Random, trials: int
) -> None:
    """Three in five trials are runs of one process. A run that is done before its kill is checked and not counted."""
    kills = (trials * 3 + 4) // 5 if nproc == 1 else trials * 2 // 5
    plan = [
        (moment, victim)
        for moment in (starting, training, in_mid_epoch, validating, saving)
        for victim in ((worker, loader) if nproc == 1 else (worker, rank, loader, rank))
        if moment in (training, in_mid_epoch) or victim is not loader
    ]
    draw.shuffle(plan)
    job, done, saved = new_job(nproc), 0, 0
    while done < kills:
        moment, victim = plan[done % len(plan)]
        job.start()
        status = kill(job, draw, moment, victim)
        job.check_prefix(reference(nproc))
        if status == "completed":
            job.check_same(reference(nproc))
            job, saved = new_job(nproc), 0
            continue
        done += 1
        assert job.saved_step >= saved, "never older than the one before"
        saved = job.saved_step
    job.start()
    job.check_end("completed")
    job.check_same(reference(nproc))


@pytest.mark.parametrize("nproc", [1, 2])
def test_a_signal_preempts_and_a_stop_stops_in_every_trial_and_nothing_is_lost(
    nproc: int, reference: Any, new_job: NewJob, draw: random.Random, trials: int
) -> None:
    """The signal goes to the worker, or to the launcher of several, as a scheduler sends it; or to everybody."""
    job = new_job(nproc)
    for trial in range(2 * max(1, trials // 10)):
        job.start()
        draw.choice([training, training, saving])(job, draw)
        if trial % 2:
            status, saved = control.stop(job.run).status, "stopped"
        else:
            number = draw.choice([signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
            job.process.send_signal(number)
            status, saved = job.end().status, "preempted"
        assert status in (saved, "completed")
        job.check_end(status)
        job.check_prefix(reference(nproc))
        if status == "completed":
            job.check_same(reference(nproc))
            job = new_job(nproc)
        else:
            assert job.saved_step == job.summary.step > 0
    job.start()
    job.check_end("completed")
    job.check_same(reference(nproc))
