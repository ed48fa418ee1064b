"""Threads of a script that has imported torch first: they spin while they wait for each other."""

import math
import os
import time
import warnings

import psutil
import torch

from rbp_engine.cores import let_threads_sleep

# Time between two looks at what other programs do.
LOOK_S = 1.0
# A fraction of the cores; the background work of a desktop stays below it.
QUIET = 0.1


class SpinningThreads:
    """Warns, once and between steps, where threads spin on cores that other programs keep busy."""

    def __init__(self) -> None:
        self._looked = -math.inf
        self._others_s = 0.0
        self._warned = False

    def look(self, device: torch.device) -> None:
        """Look at the time on the cores that other programs have taken since the last look, a second ago or more."""
        if self._warned or device.type != "cpu" or let_threads_sleep() or torch.get_num_threads() == 1:
            return
        elapsed = time.monotonic() - self._looked
        if elapsed < LOOK_S:
            return
        before, self._others_s = self._others_s, _seconds_of_others()
        self._looked = time.monotonic()
        share = (self._others_s - before) / elapsed / len(os.sched_getaffinity(0))
        if share > QUIET:
            self._warned = True
            warnings.warn(
                f"other programs keep {share:.0%} of the cores busy, and torch was imported before rbp_engine, so its "
                "threads spin while they wait and a step takes several times as long: import rbp_engine first, or set "
                "OMP_WAIT_POLICY=PASSIVE and GOMP_SPINCOUNT=1000",
                stacklevel=4,
            )


def _seconds_of_others() -> float:
    """What other processes have used of this process's cores since the machine started, in seconds of one core."""
    loads = psutil.cpu_times(percpu=True)
    own = [loads[core] for core in os.sched_getaffinity(0) if core < len(loads)]
    return sum(core.user + core.nice + core.system for core in own) - time.process_time()
