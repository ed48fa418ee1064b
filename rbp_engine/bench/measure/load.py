"""The machine of a measurement: its processor, and how busy it is with other work before."""

import itertools
import os
import platform
from pathlib import Path

import psutil

LOOK_S = 0.5
# A fraction of the cores; the background work of a desktop stays below it.
QUIET = 0.1
VECTORS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")


def busy_share(seconds: float = LOOK_S) -> float:
    """The fraction of this process's cores that are busy while it waits for `seconds`."""
    loads = psutil.cpu_percent(seconds, percpu=True)
    own = [loads[core] for core in os.sched_getaffinity(0) if core < len(loads)]
    return sum(own) / len(own) / 100.0 if own else 0.0


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
