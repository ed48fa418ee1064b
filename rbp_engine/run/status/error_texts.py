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

#: A RuntimeError says that memory ran out.
NO_MEMORY = re.compile(r"DefaultCPUAllocator|\bCuda failure (2 )?'out of memory'|\bCUDA error: out of memory")
#: The GPU failed. It is raised later, so where it is raised says nothing.
OF_CUDA = re.compile(r"\bCUDA error: ")
#: It has lost another process.
OF_GLOO = re.compile("gloo", re.IGNORECASE)
#: Faults of this process itself, so that a restart fails the same way: a CUDA call inside NCCL failed, or two ranks
#: share one card.
OWN_NCCL = re.compile(r"\bnccl(UnhandledCudaError|InvalidUsage|InvalidArgument)\b")
_CONNECTION = re.compile(
    r"\b(DistBackendError|DistNetworkError|DistStoreError|RendezvousConnectionError|RendezvousTimeoutError"
    r"|ncclRemoteError|ncclSystemError)\b|\bgloo/transport/|\blost the other processes:"
)
#: An exception was raised in a process that reads images; its own message is the last line.
IN_LOADER = "in DataLoader worker process"
#: How a RuntimeError begins that says that such a process was killed.
LOST_LOADER = "DataLoader worker (pid"
#: torchrun reports that it received a signal, which is not a failure.
GRACEFUL_SIGNAL = "SignalException"


def cause_of_text(message: str) -> Cause:
    """The cause of an error of which only the text is left: the name of its type, and its message."""
    if _CONNECTION.search(message) is not None and OWN_NCCL.search(message) is None:
        return Cause.LOST_PROCESS
    return Cause.ERROR
