"""Whose fault was it? A fault of the machine or the network may be gone when the run is started again.

That is a process killed from outside (out of memory, a node going down), one that is gone without a word, or a
connection between processes that broke. It is never an exception of the model or the data, a loss that is not finite, a
full disk, nor an end that somebody asked for.
"""

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import Verdict


def is_infrastructure_fault(run: RunDirectory, verdict: Verdict) -> bool:
    """Whether a run that has ended with this verdict may be started again without anybody looking at it."""
    return verdict.cause.may_pass and not was_asked_for(run)


def has_failed(run: RunDirectory, verdict: Verdict) -> bool:
    """Whether a run ended otherwise than it should, and than somebody asked for."""
    return verdict.status == "failed" or (verdict.status in ("lost", "killed") and not was_asked_for(run))


def was_asked_for(run: RunDirectory) -> bool:
    """Whether somebody has asked this attempt to stop, or killed it: `launch.start` takes the requests away."""
    return run.stop_request.exists() or run.kill_request.exists()
