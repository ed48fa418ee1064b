"""How busy the machine is with other work before a measurement."""

import os

import psutil

LOOK_S = 0.5
# A fraction of the cores; the background work of a desktop stays below it.
QUIET = 0.1


def busy_share(seconds: float = LOOK_S) -> float:
    """The fraction of this process's cores that are busy while it waits for `seconds`."""
    loads = psutil.cpu_percent(seconds, percpu=True)
    own = [loads[core] for core in os.sched_getaffinity(0) if core < len(loads)]
    return sum(own) / len(own) / 100.0 if own else 0.0
