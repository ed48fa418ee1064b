"""Peak memory of this process: on a CPU its resident set, on a GPU what torch has allocated there."""

import contextlib
import ctypes
import gc
from pathlib import Path

import psutil
import torch

from rbp_engine.os_process import resident
from rbp_engine.train.memory import limits_in_groups

# A fraction of a GPU's free memory; the rest is lost to fragmentation.
USABLE = 0.95


def reset_peak(device: torch.device) -> int:
    """Release free memory and reset the peak, if the system can (Linux); returns the bytes now in use."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return peak(device)
    return resident()[0]


def peak(device: torch.device) -> int:
    """The largest number of bytes in use since `reset_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resident()[1]


def limit(device: torch.device) -> int:
    """The bytes that this process can use: what it already has, plus what is free."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(USABLE * (free + torch.cuda.memory_reserved(device)))
    # A container or a scheduler's job may have less memory than the machine.
    free = min([psutil.virtual_memory().available, *free_in_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])
    return psutil.Process().memory_info().rss + max(0, free)


def free_in_groups(own: Path, root: Path) -> list[int]:
    """The free bytes in this process's control group and its parents that have a limit (version 2, on Linux).

    The inactive file cache counts as used there, but is freed on demand, so here it counts as free.
    """
    found = []
    for most in limits_in_groups(own, root):
        if most.name == "memory.max":
            with contextlib.suppress(OSError, ValueError, KeyError):  # it has no limit, or is not a control group
                statistics = dict(line.split() for line in (most.parent / "memory.stat").read_text().splitlines())
                used = int((most.parent / "memory.current").read_text()) - int(statistics["inactive_file"])
                found.append(int(most.read_text()) - used)
    return found
