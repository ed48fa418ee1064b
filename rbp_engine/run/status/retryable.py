"""Whose fault was it? A fault of the machine or the network may be gone when the run is started again.

That is a process killed from outside (out of memory, a node going down), one that is gone without a word, or a
connection between processes that broke. It is never an exception of the model or the data, a loss that is not finite, a
full disk, nor an end that somebody asked for.
"""

import re

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import Verdict

# What torch.distributed raises, and what gloo says in a plain RuntimeError, when the other side cannot be reached.
NETWORK = re.compile(
    r"\b(DistBackendError|DistNetworkError|DistStoreError|RendezvousConnectionError|RendezvousTimeoutError"
    r"|ncclRemoteError|ncclSystemError)\b|\bgloo/transport/|\blost the other processes:"
)
# NCCL's result codes for what this process itself did or lacked: a CUDA call of NCCL's own failed, for want of memory
# say, or two ranks are on one card. torch has one type for all of NCCL's errors, and puts the code into the message.
OWN = re.compile(r"\bnccl(UnhandledCudaError|InvalidUsage|InvalidArgument)\b")


def is_infrastructure_fault(run: RunDirectory, verdict: Verdict) -> bool:
    """Whether a run that has ended with this verdict may be started again without anybody looking at it."""
    if was_asked_for(run):
        return False
    return verdict.status in ("lost", "killed") or (verdict.status == "failed" and blames_the_network(verdict.reason))


def has_failed(run: RunDirectory, verdict: Verdict) -> bool:
    """Whether a run ended otherwise than it should, and than somebody asked for."""
    return verdict.status == "failed" or (verdict.status in ("lost", "killed") and not was_asked_for(run))


def has_diverged(verdict: Verdict) -> bool:
    """Whether a loss or a gradient that is not finite ended a run: a resume changes no setting, and ends the same."""
    return verdict.status == "failed" and "is not finite" in verdict.reason


def was_asked_for(run: RunDirectory) -> bool:
    """Whether somebody has asked this attempt to stop, or killed it: `launch.start` takes the requests away."""
    return run.stop_request.exists() or run.kill_request.exists()


def blames_the_network(message: str) -> bool:
    """Whether the message of an exception is about a connection between processes."""
    return NETWORK.search(message) is not None and not is_own_fault(message)


def is_own_fault(message: str) -> bool:
    """Whether NCCL says that the process which has the error is itself the cause: a new start ends in the same way."""
    return OWN.search(message) is not None
