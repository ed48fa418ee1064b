"""State changes of a run in the queue: it waits, fails to start, is withdrawn, or is removed."""

import contextlib
from pathlib import Path

from rbp_engine import lease
from rbp_engine.run import trust
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.layout import RunDirectory, is_called
from rbp_engine.run.files.stop_request import PLAIN, StopRequest
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.queue.entries import entries_elsewhere, entry_of, read_queue
from rbp_engine.run.queue.host_lock import LOCK, dispatcher, locked, usable
from rbp_engine.run.status.status import judge

# For what it waits, a device or the end of a pause, changes with every other run: the queue knows it.
WAITS = "waits in the queue: rbp queue"


def discard(reference: str) -> list[str]:
    """Remove damaged entries of the run with this id or these last characters; returns the ids of their runs."""
    if not any(is_called(entry.id, reference) for entry in read_queue()[1]):
        return []  # a run can be stopped also where there can be no queue
    with locked():
        found = [entry for entry in read_queue()[1] if is_called(entry.id, reference)]
        for entry in found:
            entry.path.unlink(missing_ok=True)
    return [entry.id for entry in found]


def withdraw(run: RunDirectory, request: StopRequest = PLAIN) -> bool:
    """Take a run out of the queue and mark it `stopped`; False if it is not queued, or has just been started.

    Raises RunError if this user may not write that, and Untrusted for another user's run, also for one that is not
    queued: whoever goes on to stop or kill it has asked whose it is.
    """
    trust.require_own(run)
    if judge(run).status != "queued":
        return False
    with locked():
        if judge(run).status != "queued":
            return False
        reason = "taken out of the queue" if last_attempt(run) else "never started: taken out of the queue"
        if request.cause is not Cause.REQUEST:
            reason = f"{request.sentence}; {reason}"
        try:
            write_status(run, "stopped", reason, request.cause)
        except PermissionError as error:  # it has become another user's
            drop(run)
            raise RunError(f"took {run.id} out of the queue, but may not write {run.summary_json}") from error
        drop(run)
    return True


def is_stranded(run: RunDirectory) -> bool:
    """Whether a run waits in a queue that no dispatcher serves: that of another host, or of this one's earlier name."""
    return bool(_unserved(run))


def take_stranded(run: RunDirectory) -> None:
    """Take a stranded run out of its queue and mark it `stopped`, so that it can be queued here.

    The lock of that queue is enough: a dispatcher that starts there meanwhile changes nothing without it.
    """
    with locked(), contextlib.ExitStack() as leases:
        mine = []
        for path, _ in entries_elsewhere(run):
            with usable(path):
                lock = lease.try_take(path.parent.parent / LOCK)
            if lock is not None:  # else somebody is changing it
                leases.callback(lock.release)
                mine.append(path)
        found = [path for path in _unserved(run) if path in mine]
        if found:
            write_status(run, "stopped", "the queue in which it waited is not served any more", Cause.REQUEST)
        for path in found:
            path.unlink(missing_ok=True)


def _unserved(run: RunDirectory) -> list[Path]:
    """Of a run that waits, and not here, the files of its entries on other hosts where no dispatcher is alive."""
    found = [path for path, _ in entries_elsewhere(run) if dispatcher(path.parent.parent) is None]
    return found if judge(run).status == "queued" and entry_of(run) is None else []


def drop(run: RunDirectory) -> None:
    """Remove a run's entry, and with it what the run has claimed. The caller must hold `locked()`."""
    if entry := entry_of(run):
        entry.path.unlink(missing_ok=True)
