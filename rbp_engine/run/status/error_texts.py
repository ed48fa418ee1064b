"""What the errors of torch say in words where their types say nothing. Nothing else decides by the words of an error.

* The CPU allocator raises a plain RuntimeError for want of memory; so does CUDA, outside of torch's own allocator.
* NCCL has one type for all that befalls it, DistBackendError, and puts the code of its result into the message.
* gloo raises a plain RuntimeError, which names the file of gloo that it comes from.
* A DataLoader raises a plain RuntimeError for a process of its own that was killed, and puts the traceback of an
  exception in such a process into the message of another one of the same type.
* torchrun writes errors into files, as text: the name of the type and the message.
* Runs from before causes were written down have nothing but the reason.
"""

import re

from rbp_engine.run.cause import Cause

_NO_MEMORY = re.compile(r"DefaultCPUAllocator|\bCuda failure (2 )?'out of memory'|\bCUDA error: out of memory")
_CUDA = re.compile(r"\bCUDA error: ")
_GLOO = re.compile("gloo", re.IGNORECASE)
# What this process itself did or lacked: a CUDA call of NCCL's own failed, or two ranks are on one card.
_OWN_NCCL = re.compile(r"\bnccl(UnhandledCudaError|InvalidUsage|InvalidArgument)\b")
_CONNECTION = re.compile(
    r"\b(DistBackendError|DistNetworkError|DistStoreError|RendezvousConnectionError|RendezvousTimeoutError"
    r"|ncclRemoteError|ncclSystemError)\b|\bgloo/transport/|\blost the other processes:"
)


def says_no_memory(message: str) -> bool:
    """Whether the message of a RuntimeError is that memory ran out."""
    return _NO_MEMORY.search(message) is not None


def is_of_cuda(message: str) -> bool:
    """Whether the message of a RuntimeError is that the card failed, some time ago: where it is raised says nothing."""
    return _CUDA.search(message) is not None


def is_of_gloo(message: str) -> bool:
    """Whether the message of a RuntimeError is gloo's, which has lost another process."""
    return _GLOO.search(message) is not None


def is_own_nccl_fault(message: str) -> bool:
    """Whether NCCL says that the process which has the error is itself the cause: a new start ends in the same way."""
    return _OWN_NCCL.search(message) is not None


def was_raised_in_loader(message: str) -> bool:
    """Whether an exception was raised in a process that reads images; its own words are the last line."""
    return "in DataLoader worker process" in message


def has_lost_loader(message: str) -> bool:
    """Whether the message of a RuntimeError is that a process that reads images was killed."""
    return message.startswith("DataLoader worker (pid")


def is_graceful_signal(message: str) -> bool:
    """Whether torchrun has written down that it was sent a signal, which is no failure."""
    return "SignalException" in message


def cause_of_text(message: str) -> Cause:
    """The cause of an error of which only the text is left: its type, and its message."""
    if _CONNECTION.search(message) is not None and not is_own_nccl_fault(message):
        return Cause.LOST_PROCESS
    return Cause.ERROR


def cause_of_older(status: str, reason: str) -> Cause:
    """The cause of an end that was written down without one."""
    if status in ("stopped", "preempted", "killed"):  # only `rbp kill` writes the last of them down
        return Cause.REQUEST
    if status != "failed":
        return Cause.UNKNOWN
    if "is not finite" in reason:
        return Cause.NON_FINITE
    return Cause.LOST_PROCESS if cause_of_text(reason) is Cause.LOST_PROCESS else Cause.UNKNOWN
