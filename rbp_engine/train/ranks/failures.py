"""What ended a run, in one sentence for its user, with a way on where there is one."""

import errno
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

# torch's CPU allocator has no error type of its own, and NCCL has one for all that befalls it.
_NO_MEMORY = re.compile(r"DefaultCPUAllocator|\bCuda failure (2 )?'out of memory'")


def describe(error: BaseException, preset: "Preset | None" = None, world_size: int = 1) -> str:
    """One sentence; `preset` is that of the run, where it could be read."""
    name, text = type(error).__name__, str(error).strip()
    if name == "NonFiniteImages":
        return f"{error}; look at the data set and at how it is normalised, a lower optim.lr does not help"
    if name == "NonFiniteLoss":
        return f"{error}; any checkpoint is from before that. Start again with a lower optim.lr, or with a warm-up"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the device of the runs directory; make room, then resume"
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        where = error.filename if isinstance(error.filename, (str, bytes)) else "the folder of the run"
        return f"{error.strerror}: {os.fsdecode(where)}; make it writable again, then resume"
    if preset is not None and (isinstance(error, MemoryError) or name == "OutOfMemoryError" or _NO_MEMORY.search(text)):
        return _out_of_memory(preset, world_size)
    if "in DataLoader worker process" in text:  # wrapped into the traceback of that process, its own words last
        return f"{text.splitlines()[-1]} (in a process that reads images)"
    if text.startswith("DataLoader worker (pid"):
        return (
            "a process that reads images was killed, or ended without a word (out of memory?); "
            "resume, if need be after a new start with fewer data.workers"
        )
    return f"{name}: {text}" if text else name


def _out_of_memory(preset: "Preset", world_size: int) -> str:
    method, batch = preset.method, preset.data.batch_size
    shared = f" over {world_size} processes" if world_size > 1 else ""
    parts = preset.train.accumulate
    in_parts = f" in {parts} parts" if parts > 1 else ""
    remedies = [f"train.accumulate = {2 * parts} halves what is held at once", "a smaller data.batch_size"]
    if method.timesteps > 1 and method.name != "rate_s":
        remedies.append("fewer method.timesteps")
        if method.name in ("bptt", "bptt_s", "rate_m"):
            remedies.append("method.name = rate_s, whose memory does not grow with T")
    return (
        f"out of memory with {method.name}, T = {method.timesteps}, {batch} images a step{shared}{in_parts}, "
        f"precision {preset.train.precision}. What helps: {'; '.join(remedies)}"
    )
