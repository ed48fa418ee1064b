"""How a process of the engine is called: its command line, and its environment variables.

The variables are set for every worker where the user has not set them.
"""

import os
import sys

from rbp_engine import compile_cache

# More than any heap: nothing is given back before the process ends.
_NEVER_TRIM = str(2**40)

# Cards are counted as nvidia-smi counts them. By CUDA's own default, the fastest first, `--gpus 1`, the claim of a run
# and `cuda:1` would be different cards where not all are alike.
CARD_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


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
        **CARD_ORDER,
        **compile_cache.variables(),
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "1000",
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": _NEVER_TRIM,
    }
