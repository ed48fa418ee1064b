"""Ask a run to stop, or kill it."""

import contextlib
import signal
import time

import psutil

from rbp_engine.printable import one_line, visible
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError, cannot
from rbp_engine.run.files import inside
from rbp_engine.run.files.attempts import Ended, last_attempt, record_end
from rbp_engine.run.files.layout import RunDirectory, refuse_links
from rbp_engine.run.files.stop_request import StopRequest, write_stop_request
from rbp_engine.run.files.summary import read_summary, write_status
from rbp_engine.run.launch import multinode
from rbp_engine.run.queue.transitions import withdraw
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import ENDED, Verdict, judge

SIGNAL_AFTER_S = 30.0
POLL_S = 0.1
UNRELATED = "another user's or not one of its own"


def request_stop(run: RunDirectory, cause: Cause = Cause.REQUEST, reason: str = "") -> None:
    """Ask the worker to save at the next step boundary and end as `stopped`; returns at once.

    It ends with this cause and reason, unless it has been asked before. A queued run leaves the queue and is then
    stopped. Raises RunError if the run's folders contain links, Untrusted if it is another user's.
    """
    request = StopRequest(cause, one_line(reason))
    refuse_links(run)
    if withdraw(run, request):  # which asks whose run it is
        return
    with cannot(f"write {run.stop_request}"):
        write_stop_request(run, request)


def require_live(run: RunDirectory) -> None:
    """Raise RunError if the run has ended."""
    verdict = judge(run)
    if not verdict.live:
        raise RunError(f"{run.id} is not running, it is {verdict.status}")


def wait_for_end(run: RunDirectory, patience_s: float = 600.0) -> Verdict:
    """Wait until a run that was asked to stop has ended, which takes one step and one checkpoint.

    If it has not ended within 30 s, one SIGTERM follows. Raises RunError if it has not ended within `patience_s`, or if
    its recorded process is not known to belong to it and so cannot be signalled.
    """
    asked = time.monotonic()
    signalled = False
    verdict = judge(run)
    while verdict.live:
        waited = time.monotonic() - asked
        if not signalled and waited > SIGNAL_AFTER_S:
            signalled = True
            _signal_worker(run, signal.SIGTERM)
        if waited > patience_s:
            raise RunError(f"{run.id} has not stopped within {patience_s:.0f} s: rbp stop --now {run.id}")
        time.sleep(POLL_S)
        verdict = judge(run)
    return verdict


def kill(run: RunDirectory) -> Verdict:
    """SIGKILL every process of the run and mark it `killed`. Anything since the last checkpoint is lost.

    A queued run leaves the queue and is then stopped; one that has ended keeps its status, and loses the processes that
    it has left. Raises Untrusted for another user's run, RunError if there is nothing to kill.
    """
    if withdraw(run):  # which asks whose run it is
        return judge(run)
    verdict = judge(run)
    ended = verdict.status in ENDED
    summary, attempt = read_summary(run), last_attempt(run)
    if verdict.live and summary is not None and summary.program and attempt is not None:
        raise RunError(
            f"{run.id} is trained by {summary.program}, which rbp has not started and does not kill: rbp stop {run.id} "
            f"asks it to end; it is {attempt.process}"
        )
    if ended and not processes.processes_of(run):
        raise RunError(f"{run.id} is not running, it is {verdict.status}")
    launchers = multinode.launchers(run)
    elsewhere = list(dict.fromkeys(one.where for one in launchers if one.host and not one.is_here))
    if verdict.live and elsewhere and not any(one.is_here for one in launchers):
        raise RunError(f"{run.id} runs {', '.join(elsewhere)}: kill it there, or stop it with rbp stop {run.id}")
    with contextlib.suppress(OSError, RunError):  # a full disk or a link must not prevent the kill
        refuse_links(run)
        inside.touch(run.kill_request, run.path)
    try:
        count = processes.kill_all(run)
    except TimeoutError as error:
        raise RunError(f"{run.id}: {error}") from error
    verdict = judge(run)
    if ended or verdict.status in ENDED - {"killed"}:  # or it ended by itself just before
        return verdict
    left = f"; {', '.join(elsewhere)} it has to be killed there" if elsewhere else ""
    if unrelated := multinode.unrelated_here(run):
        left += f"; process {unrelated[0]}, which it names, is {UNRELATED} and goes on"
    reason = f"killed ({count} process{'' if count == 1 else 'es'}){left}"
    try:
        write_status(run, "killed", reason, Cause.REQUEST)
        if attempt is not None:
            with contextlib.suppress(RunError):  # it is damaged; the summary says it
                record_end(run, attempt.attempt, Ended("killed", Cause.REQUEST, visible(reason), time.time()))
    except OSError as error:
        raise RunError(f"{reason}, but cannot write {run.summary_json}: {error.strerror}") from error
    return Verdict("killed", reason, Cause.REQUEST)


def _signal_worker(run: RunDirectory, number: signal.Signals) -> None:
    """Send one signal to the worker, or to the launcher of several, if it is alive on this host.

    Raises RunError if run.json names a process that is not known to belong to the run, and does not signal that one.
    """
    unrelated = multinode.unrelated_here(run)  # before the signal: a process that is ending shows no marker
    for process in multinode.started_here(run):
        processes.send_signal(run, process, number)
    if unrelated:
        raise RunError(
            f"{run.id} was asked to stop and has not: process {unrelated[0]}, which it names, is {UNRELATED}, so no "
            f"signal was sent; it stops if it heeds the request: rbp watch {run.id}"
        )


def signal_ranks(run: RunDirectory, number: signal.Signals) -> bool:
    """Send one signal to each training process of a run on this host; False if there is none.

    They save and end together, and their launcher after them. The launcher itself is not signalled: it would kill
    processes that do not end in time, and at a second signal kill them at once.
    """
    attempt = last_attempt(run)
    several = attempt is not None and attempt.world_size > 1
    signalled = False
    for started in multinode.started_here(run):
        with contextlib.suppress(psutil.Error):  # it has just ended by itself
            for process in started.children() if several else [started]:
                processes.send_signal(run, process, number)
                signalled = True
    return signalled
