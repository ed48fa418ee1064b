"""Whether a run may be retried: a fault of the machine or the network may be gone at the next start.

Such faults are a process killed from outside (out of memory, a node going down) or gone without a report, and a broken
connection between processes. An exception of the model or the data, a loss that is not finite, a full disk, or an end
that a user asked for is never one.
"""

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import Verdict


def is_infrastructure_fault(run: RunDirectory, verdict: Verdict) -> bool:
    """Whether a run that has ended with this verdict may be restarted without a user's decision."""
    return verdict.cause.is_transient and not was_requested(run)


def has_failed(run: RunDirectory, verdict: Verdict) -> bool:
    """Whether a run ended in a way that is neither its normal end nor what a user asked for."""
    return verdict.status == "failed" or (verdict.status in ("lost", "killed") and not was_requested(run))


def was_requested(run: RunDirectory) -> bool:
    """Whether a user asked this attempt to stop, or killed it; `launch.start` removes the requests of earlier ones."""
    return run.stop_request.exists() or run.kill_request.exists()
