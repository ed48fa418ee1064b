"""How many cores this process may use."""

import functools
import os
import sys
from collections.abc import Mapping
from typing import Final

# Threads that wait for each other look a thousand times, then sleep. OpenMP's own default is to look for milliseconds,
# and beside one busy program a step then takes several times as long. It reads this when torch loads it.
SLEEP_SOON: Final = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}


def cores_here(environment: Mapping[str, str] = os.environ) -> int:
    """The cores that this process may use: those that it is bound to, but in a Slurm job no more than asked for.

    Clusters that do not bind tasks to cores (`TaskPlugin=task/none`) still count what a job has asked for.
    """
    bound = len(os.sched_getaffinity(0))
    asked = environment.get("SLURM_CPUS_PER_TASK", "")
    return min(bound, max(1, int(asked))) if asked.isdecimal() else bound


@functools.cache
def let_threads_sleep() -> bool:
    """Have the threads of this process sleep soon, unless the user's own variables say what they do.

    False if torch was loaded before the first call: then they spin, and it is too late.
    """
    if SLEEP_SOON.keys() & os.environ.keys():
        return True
    if "torch" in sys.modules:
        return False
    for name, value in SLEEP_SOON.items():
        os.putenv(name, value)  # not os.environ: processes that this one starts decide for themselves
    return True
