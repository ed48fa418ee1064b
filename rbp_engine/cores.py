"""How many cores this process may use."""

import os
from collections.abc import Mapping


def cores_here(environment: Mapping[str, str] = os.environ) -> int:
    """The cores that this process may use: those that it is bound to, but in a Slurm job no more than asked for.

    Clusters that do not bind tasks to cores (`TaskPlugin=task/none`) still count what a job has asked for.
    """
    bound = len(os.sched_getaffinity(0))
    asked = environment.get("SLURM_CPUS_PER_TASK", "")
    return min(bound, max(1, int(asked))) if asked.isdecimal() else bound
