"""Why a run failed: the cause, and a message for the user, with advice where there is any."""

import errno
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rbp_engine.compile_cache import CompileCacheError
from rbp_engine.data.catalog import DataMissing
from rbp_engine.errors import DataError, LoaderLost, OwnCodeError, SettingsError
from rbp_engine.run.cause import Cause
from rbp_engine.run.status import error_texts
from rbp_engine.settings.problems import PresetError
from rbp_engine.train.errors import CheckpointError, NonFiniteLoss
from rbp_engine.user_code import is_from_library, is_from_own_code, is_own, place_in_own_code

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

_CAUSES: tuple[tuple[type[Exception], Cause], ...] = (
    (CheckpointError, Cause.CHECKPOINT),
    (CompileCacheError, Cause.DISK),
    (DataMissing, Cause.DATA),
    (DataError, Cause.DATA),
    (SettingsError, Cause.SETTINGS),
    (PresetError, Cause.SETTINGS),
    (OwnCodeError, Cause.OWN_CODE),
)


@dataclass(frozen=True)
class Ending:
    """How an attempt has ended: the status, and why if it is not after the last epoch, in words for the user."""

    status: str
    cause: Cause = Cause.UNKNOWN
    reason: str = ""


def explain(error: BaseException, preset: "Preset | None" = None, *, code: Path, world_size: int = 1) -> Ending:
    """How an exception of a worker ends its attempt.

    `preset` is the run's, if it could be read; `code` is the folder with the user's own code in the run.
    """
    name, text = type(error).__name__, str(error).strip()
    if isinstance(error, NonFiniteLoss):
        advice = "any checkpoint is from before that. Start again with a lower optim.lr, or with a warm-up"
        return Ending("failed", Cause.NON_FINITE, f"{error}; {advice}")
    if reason := _disk(error):
        return Ending("failed", Cause.DISK, reason)
    if is_out_of_memory(error):
        reason = _out_of_memory(preset, world_size) if preset is not None else f"{name}: {text}" if text else name
        return Ending("failed", Cause.OUT_OF_MEMORY, reason)
    if isinstance(error, LoaderLost) or text.startswith(error_texts.LOST_LOADER):
        reason = (
            "a process that reads images was killed, or ended without a word (out of memory?); "
            "resume, if need be after a new start with fewer data.workers"
        )
        return Ending("failed", Cause.LOST_PROCESS, reason)
    if error_texts.IN_LOADER in text:  # the text is a traceback, with the original message last
        reason = f"{text.splitlines()[-1]} (in a process that reads images)"
    elif isinstance(error, tuple(kind for kind, _ in _CAUSES)):  # its message is already for the user
        reason = text
    else:
        reason = _place(error, code) + (f"{name}: {text}" if text else name)
    cause = _cause(error, code, world_size)
    if cause is Cause.ERROR and preset is not None and not error_texts.OF_CUDA.search(text):
        library, unsupported = is_from_library(error), _is_unsupported(error)
        if is_own(preset.model.name):  # made of the modules of others, it has no lines of its own
            cause = Cause.OWN_CODE if library or unsupported else cause
        elif library:
            unfit = f"{preset.model.name} cannot be trained on {preset.data.name}: {reason}"
            advice = "." if unsupported else ". Take other images, another network, or model.args that fit"
            return Ending("failed", Cause.SETTINGS, unfit.rstrip(".!") + advice)
    return Ending("failed", cause, reason)


def is_about_others(error: BaseException) -> bool:
    """Whether an error only says that another process is gone; the reason is in that process's report or its log."""
    torch = sys.modules.get("torch")  # if torch is not loaded, the error is not torch's
    if torch is not None and isinstance(error, torch.distributed.DistError):
        return error_texts.OWN_NCCL.search(str(error)) is None
    return isinstance(error, RuntimeError) and error_texts.OF_GLOO.search(str(error)) is not None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this process or its GPU ran out of memory."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and error_texts.NO_MEMORY.search(str(error)) is not None


def _cause(error: BaseException, code: Path, world_size: int) -> Cause:
    """The cause of an error by its type; for the user's own code, by where the error was raised."""
    for kind, cause in _CAUSES:
        if isinstance(error, kind):
            return cause
    if world_size > 1 and is_about_others(error):
        return Cause.LOST_PROCESS
    text = str(error)
    # Where an exception of a loader process was raised, only the traceback in its text shows.
    own = f'File "{code}{os.sep}' in text if error_texts.IN_LOADER in text else is_from_own_code(error, code)
    if error_texts.OF_CUDA.search(text) or not own:
        return Cause.ERROR
    # The files that a user's data set reads are not frozen in the run, unlike its code.
    return Cause.DATA if isinstance(error, OSError) else Cause.OWN_CODE


def _place(error: BaseException, code: Path) -> str:
    """Where in the user's own code an error was raised: `nets.py line 12: `; an operation without a rule names it."""
    place = place_in_own_code(error, code)
    if not place:
        return ""
    return "" if _is_unsupported(error) else f"{place}: "


def _is_unsupported(error: BaseException) -> bool:
    from rbp_engine.spiking.errors import UnsupportedOperation  # loads torch, which the worker does later

    return isinstance(error, UnsupportedOperation)


def _disk(error: BaseException) -> str:
    """The reason why a disk cannot be written; empty if the error is about something else."""
    if not isinstance(error, OSError):
        return ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the device of the runs directory; make room, then resume"
    if error.errno == errno.EROFS:
        where = error.filename if isinstance(error.filename, (str, bytes)) else "the folder of the run"
        return f"{error.strerror}: {os.fsdecode(where)}; make it writable again, then resume"
    return ""


def _out_of_memory(preset: "Preset", world_size: int) -> str:
    method, batch = preset.method, preset.data.batch_size
    shared = f" over {world_size} processes" if world_size > 1 else ""
    parts = preset.train.accumulate
    in_parts = f" in {parts} parts" if parts > 1 else ""
    more = preset.more_parts(world_size)
    remedies = [f"train.accumulate = {more} halves what is held at once"] if more else []
    remedies += ["a smaller data.batch_size"] if batch > world_size else []
    if method.timesteps > 1 and method.name != "rate_s":
        remedies.append("fewer method.timesteps")
        if method.name in ("bptt", "bptt_s", "rate_m"):
            remedies.append("method.name = rate_s, whose memory does not grow with T")
    return (
        f"out of memory with {method.name}, T = {method.timesteps}, {batch} images a step{shared}{in_parts}, "
        f"precision {preset.train.precision}. What helps: {'; '.join(remedies) or 'a smaller network'}"
    )
