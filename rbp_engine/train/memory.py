"""Memory of this process and its GPU: what it uses, its peak, and what it may use.

On a CPU the peak is that of its resident set, on a GPU of what torch has allocated there.
"""

import contextlib
import ctypes
import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import torch

from rbp_engine.os_process import resident
from rbp_engine.run.files.events import System

READ_EVERY_S = 2.0
OWN_GROUP, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
# A fraction of a GPU's free memory; the rest is lost to fragmentation.
USABLE = 0.95


class MemoryGauge:
    """Reads `System` figures of this process; on a CPU the peak is that of the resident set.

    The kernel updates the peak separately from the resident set, so it may lag behind.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._card = _nvml_handle(device)
        self._read = 0.0
        self._peak = 0

    def read(self) -> System | None:
        """The figures; None if the last reading is less than two seconds old."""
        now = time.monotonic()
        if now - self._read < READ_EVERY_S:
            return None
        self._read = now
        rss, most = resident()
        if self.device.type != "cuda":
            self._peak = max(self._peak, rss, most)
            return System(rss=rss, mem_peak=self._peak)
        import pynvml

        return System(
            mem_allocated=torch.cuda.memory_allocated(self.device),
            mem_reserved=torch.cuda.memory_reserved(self.device),
            mem_peak=torch.cuda.max_memory_allocated(self.device),
            rss=rss,
            gpu_util=_query(lambda: pynvml.nvmlDeviceGetUtilizationRates(self._card).gpu / 100.0),
            power=_query(lambda: pynvml.nvmlDeviceGetPowerUsage(self._card) / 1000.0),
        )


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
    free = min([psutil.virtual_memory().available, *free_in_groups(OWN_GROUP, GROUPS)])
    return psutil.Process().memory_info().rss + max(0, free)


def memory_of(device: torch.device) -> int:
    """The bytes of memory of the card; without one, what this process may use of the host's."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return min([psutil.virtual_memory().total, *limits_of_groups(OWN_GROUP, GROUPS)])


def limits_of_groups(own: Path, root: Path) -> list[int]:
    """The limits of memory of this process's control group and its parents (versions 1 and 2, on Linux)."""
    limits = []
    for limit in limits_in_groups(own, root):
        with contextlib.suppress(OSError, ValueError):  # there is no group, or it has no limit
            limits.append(int(limit.read_text()))
    return limits


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


def limits_in_groups(own: Path, root: Path) -> Iterator[Path]:
    """The files that may have those limits: `memory.max` in version 2."""
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            group = root / ("memory" if controllers else "") / place.lstrip("/")
            if controllers in ("", "memory"):
                name = "memory.limit_in_bytes" if controllers else "memory.max"
                yield from (folder / name for folder in (group, *group.parents))


def _nvml_handle(device: torch.device) -> Any:
    """The card by its UUID: NVML and CUDA may count in different orders, which torch.cuda.utilization overlooks."""
    if device.type != "cuda":
        return None
    with contextlib.suppress(Exception):  # without NVML there are no figures, and training does not need them
        import pynvml

        pynvml.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        return pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    return None


def _query(read: Callable[[], float]) -> float | None:
    """The answer of NVML; None without it, or if the card has none: some do not report their power or utilisation."""
    with contextlib.suppress(Exception):  # training does not need these figures
        return read()
    return None
