"""The command line and the environment variables of the engine's processes.

Every worker gets these variables unless the user has set them.
"""

import os
import subprocess
import sys
from pathlib import Path

from rbp_engine import compile_cache
from rbp_engine.cores import SLEEP_SOON, cores_here
from rbp_engine.run.status import processes

# Larger than any heap: no memory is returned to the system before the process ends.
_NEVER_TRIM = str(2**40)

# Number cards as nvidia-smi does. CUDA's own default puts the fastest first, so with unequal cards `--gpus 1`, the
# claim of a run and `cuda:1` would be different cards.
CARD_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}

# A result may depend on these to the last bit: sums in another order round differently.
TO_THE_LAST_BIT = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_TF32_OVERRIDE",
)


def module_command(module: str, *words: str) -> list[str]:
    """The command line that runs a module of the engine.

    -P: a file in the working directory, such as random.py, must not shadow a module.
    """
    return [sys.executable, "-P", "-m", module, *words]


def in_background(log: Path, module: str, *words: str) -> "subprocess.Popen[bytes]":
    """Start a module of the engine that belongs to no run and outlives this process; what it says goes into a log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            module_command(module, *words),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=processes.without_marks(os.environ),
            start_new_session=True,
        )


def worker_defaults(workers: int = 1) -> dict[str, str]:
    """The variables for each of `workers` on this machine; the user's own settings take precedence.

    One thread per core that a worker may use. Threads that wait for each other spin a thousand times and then sleep:
    sleeping at once makes a step longer, and so does spinning without limit, the default, if another process keeps a
    core busy. The C library keeps freed memory: returning it after every layer and fetching it again page by page costs
    more of a step than keeping it adds to the peak. `rbp bench` with another value in the environment measures what one
    is worth. Threads are not bound to cores: that saved no processor time with one worker, and has not been measured
    with several.
    """
    threads = max(1, cores_here() // workers)
    return {
        **CARD_ORDER,
        **compile_cache.variables(),
        "OMP_NUM_THREADS": str(threads),
        **SLEEP_SOON,
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": _NEVER_TRIM,
    }
