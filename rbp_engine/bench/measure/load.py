"""How busy the machine is with other work, before anything is measured on it."""

import os

import psutil

LOOK_S = 0.5
# Of the cores: what a desktop does beside one's work stays below.
QUIET = 0.1


def busy_share(seconds: float = LOOK_S) -> float:
    """The share of this process's cores that are at work while it waits for so many seconds."""
    loads = psutil.cpu_percent(seconds, percpu=True)
    own = [loads[core] for core in os.sched_getaffinity(0) if core < len(loads)]
    return sum(own) / len(own) / 100.0 if own else 0.0
