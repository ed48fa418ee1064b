"""Runs that are killed, stopped and preempted again and again end up equal to an uninterrupted one."""

import contextlib
import signal
import time
from collections import Counter
from functools import partial
from itertools import cycle, islice

import psutil
import pytest

from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.status.status import judge
from tests.stopping import stop as stop_and_wait

STEPS = 6  # per epoch


def starting(job, draw):
    time.sleep(draw.uniform(0.0, 3.0))


def training(job, draw):
    job.wait_for_start()
    time.sleep(draw.uniform(0.0, 1.0))


def in_mid_epoch(job, draw):
    """Most likely after a checkpoint in the middle of an epoch."""
    job.wait_for_start()
    time.sleep(draw.uniform(0.0, 0.5))
    job.run.checkpoint_request.touch()
    job.wait_until(lambda: not job.run.checkpoint_request.exists() or not judge(job.run).live)
    time.sleep(draw.uniform(0.0, 0.3))


def validating(job, draw):
    """The run writes its summary after the last step of an epoch, before it validates."""
    job.wait_for_start()
    first = job.summary.step
    job.wait_until(lambda: not judge(job.run).live or (job.summary.step > first and job.summary.step % STEPS == 0))
    time.sleep(draw.uniform(0.0, 0.05))


def saving(job, draw):
    job.wait_for_start()
    job.wait_until(lambda: list(job.run.checkpoints.glob("*.tmp")) or not judge(job.run).live)
    time.sleep(draw.uniform(0.0, 0.02))


# These give the process to kill, and the status and words that the run must end with.


def worker(job, draw):
    """The single process of a run, or the launcher if there are several."""
    return psutil.Process(job.process.pid), "lost", "gone without a word"


def rank(job, draw):
    chosen = draw.choice(job.ranks())
    number = chosen.environ()["RANK"]
    return chosen, "killed", f"process {number} was ended by signal 9 (SIGKILL: probably out of memory)"


def loader(job, draw):
    """One of the processes that read images."""
    return draw.choice(job.loaders()), "failed", "a process that reads images was killed"


def kill(job, draw, moment, find):
    """Send SIGKILL and return the run's status; tries again if there is no process to kill at that moment."""
    moment(job, draw)
    status = words = ""
    while judge(job.run).live and not status:
        with contextlib.suppress(psutil.Error, IndexError, KeyError):
            process, expected, words = find(job, draw)
            process.kill()
            status = expected
    verdict = job.check_end("completed", status or "completed")
    assert verdict.status == "completed" or words in verdict.reason, (verdict, words)
    assert verdict.status == "completed" or verdict.cause is Cause.LOST_PROCESS
    return str(verdict.status)


def preempt(job, draw):
    """Send a signal to the worker, or to the launcher if there are several, as a scheduler does."""
    draw.choice([training, saving])(job, draw)
    job.process.send_signal(draw.choice([signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]))
    job.end()
    return check_saved(job, "preempted")


def stop(job, draw):
    """Stop as `rbp stop` does, while loader workers are busy: within a step, a save and 5 s."""
    draw.choice([training, saving])(job, draw)
    asked = time.monotonic()
    if judge(job.run).live:
        with contextlib.suppress(RunError):  # it has just ended
            stop_and_wait(job.run)
    job.check_stop_took(time.monotonic() - asked)
    return check_saved(job, "stopped")


def check_saved(job, expected):
    """Check that the checkpoint exists as soon as the run says that it has ended."""
    saved = job.saved_step
    status = job.check_end(expected, "completed").status
    assert status == "completed" or saved == job.saved_step == job.summary.step > 0
    return status


@pytest.mark.parametrize("nproc", [1, pytest.param(2, marks=pytest.mark.xdist_group("reference of two"))])
def test_whatever_ends_a_run_it_comes_out_as_the_uninterrupted_one(nproc, reference, new_job, draw, trials):
    """Three in five kills hit runs of one process. A run that completes early is checked, and another one started."""
    kills = [
        partial(kill, moment=moment, find=victim)
        for moment in (starting, training, in_mid_epoch, validating, saving)
        for victim in ((worker, loader) if nproc == 1 else (worker, rank, loader, rank))
        if moment in (training, in_mid_epoch) or victim is worker or (victim is rank and moment is not starting)
    ]
    draw.shuffle(kills)
    count = trials * 3 // 5 if nproc == 1 else trials * 2 // 5
    # With few trials, a stop of two processes is left to test_managers.py.
    others = [preempt, stop] if nproc == 1 or trials >= 50 else [preempt]
    acts = [*islice(cycle(kills), count), *others * max(1, trials // 5)]
    draw.shuffle(acts)
    job, saved = new_job(nproc), 0
    ends = Counter()
    slowest_stop_s = 0.0
    while acts:
        job.start()
        status = acts[-1](job, draw)
        slowest_stop_s = max(slowest_stop_s, job.stop_took_s)
        job.check_prefix(reference(nproc))
        if status == "completed":
            job.check_same(reference(nproc))
            ends["completed before, bit for bit"] += 1
            job, saved = new_job(nproc), 0
            continue
        act = acts.pop()
        ends[f"{getattr(act, '__name__', 'kill')}: {status}"] += 1
        assert job.saved_step >= saved, "never older than the one before"
        saved = job.saved_step
    job.start()
    job.check_end("completed")
    job.check_same(reference(nproc))
    ended = ", ".join(f"{number} {what}" for what, number in sorted(ends.items()))
    print(
        f"{nproc} process(es), {count} kills: {ended}; the last completed bit for bit; stop <= {slowest_stop_s:.2f} s"
    )
