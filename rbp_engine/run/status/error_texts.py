"""Classify errors of torch by their text where the type says too little. No other file decides by an error's text.

* The CPU allocator raises a plain RuntimeError when memory runs out; so does CUDA outside of torch's own allocator.
* NCCL has one type for all failures, DistBackendError, with its result code in the message.
* gloo raises a plain RuntimeError, which names the gloo source file that it comes from.
* A DataLoader raises a plain RuntimeError if one of its processes was killed. An exception in such a process it raises
  again with the same type and the traceback of the process in the message.
* torchrun writes errors to files as text: the name of the type and the message.
"""

import re

from rbp_engine.run.cause import Cause

_NO_MEMORY = re.compile(r"DefaultCPUAllocator|\bCuda failure (2 )?'out of memory'|\bCUDA error: out of memory")
_CUDA = re.compile(r"\bCUDA error: ")
_GLOO = re.compile("gloo", re.IGNORECASE)
# Faults of this process itself: a CUDA call inside NCCL failed, or two ranks share one card.
_OWN_NCCL = re.compile(r"\bnccl(UnhandledCudaError|InvalidUsage|InvalidArgument)\b")
_CONNECTION = re.compile(
    r"\b(DistBackendError|DistNetworkError|DistStoreError|RendezvousConnectionError|RendezvousTimeoutError"
    r"|ncclRemoteError|ncclSystemError)\b|\bgloo/transport/|\blost the other processes:"
)


def says_no_memory(message: str) -> bool:
    """Whether the message of a RuntimeError says that memory ran out."""
    return _NO_MEMORY.search(message) is not None


def is_of_cuda(message: str) -> bool:
    """Whether a RuntimeError says that the GPU failed. It is raised later, so where it is raised says nothing."""
    return _CUDA.search(message) is not None


def is_of_gloo(message: str) -> bool:
    """Whether the message of a RuntimeError is gloo's, which means that it has lost another process."""
    return _GLOO.search(message) is not None


def is_own_nccl_fault(message: str) -> bool:
    """Whether NCCL says that the process with the error is itself the cause, so that a restart fails the same way."""
    return _OWN_NCCL.search(message) is not None


def was_raised_in_loader(message: str) -> bool:
    """Whether an exception was raised in a process that reads images; its own message is the last line."""
    return "in DataLoader worker process" in message


def has_lost_loader(message: str) -> bool:
    """Whether the message of a RuntimeError says that a process that reads images was killed."""
    return message.startswith("DataLoader worker (pid")


def is_graceful_signal(message: str) -> bool:
    """Whether torchrun reports that it received a signal, which is not a failure."""
    return "SignalException" in message


def cause_of_text(message: str) -> Cause:
    """The cause of an error of which only the text is left: the name of its type, and its message."""
    if _CONNECTION.search(message) is not None and not is_own_nccl_fault(message):
        return Cause.LOST_PROCESS
    return Cause.ERROR
