"""How a process of the engine is called: its command line, and environment variables that make training on a CPU fast.

The variables are set for every worker where the user has not set them.
"""

import os
import sys

# More than any heap: nothing is given back before the process ends.
_NEVER_TRIM = str(2**40)


def module_command(module: str, *words: str) -> list[str]:
    """The command line that runs a module of the engine.

    -P: a file of the working directory, random.py say, must not stand in for a module of it.
    """
    return [sys.executable, "-P", "-m", module, *words]


def worker_defaults(processes: int = 1) -> dict[str, str]:
    """The variables for each of `processes` workers on this machine; a user's own settings go before them.

    One thread per core that a worker may use. Threads that wait for each other look a thousand times and then sleep:
    sleeping at once makes a step of ResNet-18 7 % longer (T = 4, B = 32, bf16), while spinning on, as is the default,
    doubles it where one other process keeps a core busy. The C library keeps freed memory: given back after every layer
    and fetched again, page by page, it costs a quarter of a step of ResNet-18 (T = 4, B = 32), and keeping it takes 3
    to 5 % more at the peak. Threads are not bound to cores, which saves no processor time with one worker; with several
    it has not been measured.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    return {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "1000",
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": _NEVER_TRIM,
    }
