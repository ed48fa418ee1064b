"""The machine of a measurement: its processor, and how busy it is with other work before and meanwhile."""

import itertools
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import psutil

LOOK_S = 0.5
# A fraction of the cores; the background work of a desktop stays below it.
QUIET = 0.1
VECTORS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")


def busy_share(seconds: float = LOOK_S) -> float:
    """The fraction of this process's cores that are busy while it waits for `seconds`."""
    before = _busy_seconds()
    time.sleep(seconds)
    return min(1.0, (_busy_seconds() - before) / (seconds * len(os.sched_getaffinity(0))))


def share_of_others(pid: int) -> Callable[[], float]:
    """Return a function that gives the fraction of this process's cores that others than process `pid` have used.

    It counts from now on. The clocks of the system tick a hundred times a second, so over a second it is good to some
    hundredths.
    """
    process = psutil.Process(pid)

    def elsewhere() -> float:
        own = process.cpu_times()
        return _busy_seconds() - own.user - own.system

    before, began = elsewhere(), time.monotonic()
    cores = len(os.sched_getaffinity(0))
    return lambda: min(1.0, max(0.0, (elsewhere() - before) / ((time.monotonic() - began) * cores)))


def _busy_seconds() -> float:
    """The seconds for which the cores of this process have worked, on anything, added up."""
    times = psutil.cpu_times(percpu=True)
    own = [times[core] for core in os.sched_getaffinity(0) if core < len(times)]
    return sum(sum(core) - core.idle - core.iowait - core.guest - core.guest_nice for core in own)


def processor() -> str:
    """The processor's name, and the widest vectors that it has, as they decide how fast a step is."""
    lines: dict[str, str] = {}
    try:
        with Path("/proc/cpuinfo").open() as cores:  # up to the first core's end: with many cores it is long
            for line in itertools.takewhile(str.strip, cores):
                name, _, value = line.partition(":")
                lines[name.strip()] = value.strip()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    flags = lines.get("flags", "").split()
    widest = next((name for name in VECTORS if name in flags), "")
    return " ".join(filter(None, (lines.get("model name", platform.machine()), widest)))
