"""What happens to a run in the queue: it waits, is put off, refused, taken out, forgotten."""

from rbp_engine.run.cause import Cause
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.queue import claims
from rbp_engine.run.queue.entries import attempts_of, damaged_entries, entry_of
from rbp_engine.run.queue.host_lock import locked
from rbp_engine.run.status.status import judge

WAITS = "waits for a free device"


def discard(reference: str) -> list[str]:
    """Remove the damaged entries of the queue whose run has this id or last four characters; the ids of their runs."""
    with locked():
        found = [entry for entry in damaged_entries() if reference in (entry.id, entry.id[-4:])]
        for entry in found:
            entry.path.unlink(missing_ok=True)
    return [entry.id for entry in found]


def withdraw(run: RunDirectory) -> bool:
    """Take a run out of the queue, as stopped; False if it is not in it, or has just been started."""
    if judge(run).status != "queued":
        return False
    with locked():
        if judge(run).status != "queued":
            return False
        reason = "taken out of the queue" if attempts_of(run) else "never started: taken out of the queue"
        write_status(run, "stopped", reason, Cause.REQUEST)
        drop(run)
    return True


def drop(run: RunDirectory) -> None:
    """Forget a run: nobody watches over it, and its devices are free. The caller holds the lock of the host."""
    claims.release(run)
    if entry := entry_of(run):
        entry.path.unlink(missing_ok=True)


def put_off(run: RunDirectory, reason: str) -> None:
    """Write down that a run is queued, and why. The caller holds the lock of the host."""
    write_status(run, "queued", reason)


def refuse(run: RunDirectory, reason: str) -> None:
    """Write down that a run that was queued has failed to start. The caller holds the lock of the host."""
    write_status(run, "failed", reason, Cause.ERROR)
