"""How functions are handed to torch.compile, where it keeps what it compiles, and which neurons are compiled."""

import errno
import functools
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from rbp_engine import compile_cache, private_apis
from rbp_engine.compile_cache import CompileCacheError

# What neurons run with, and what a setting may say.
Kernel = Literal["eager", "compiled"]
KernelChoice = Literal["eager", "compiled", "auto"]

KERNELS = 200


@functools.cache
def problem(device: str) -> str:
    """Why torch.compile does not work on that type of device, "" if it does. The first call takes some seconds."""
    try:
        jit(torch.neg)(torch.ones(8, device=device))
    except Exception as error:
        return _in_one_line(error)
    return ""


def _in_one_line(error: Exception) -> str:
    """What torch says first, and after it the first error of a C++ compiler that it has called."""
    first, *more = f"{type(error).__name__}: {error}".splitlines()
    cause = next((line for line in more if "error: " in line), "")
    return f"{first.rstrip(':')}: {cause}" if cause else first


@functools.cache
def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled at its first call, and again for arguments of another kind.

    Raises CompileCacheError, now or in a call, if the compiled code cannot be stored.
    """
    _use_own_cache()
    private_apis.require(private_apis.COMPILING)
    # It warns on stderr that there is no Triton, which a CPU does not need.
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
    # dynamic: one kernel serves all sizes of layers and batches. Beyond the limit torch warns once and goes on
    # uncompiled; with fullgraph=True it would raise.
    kernel = torch.compile(function, dynamic=True)
    dynamo, shapes = torch._dynamo.config, torch.fx.experimental._config

    def run(*args: Any, **kwargs: Any) -> Any:
        # Each thread has its own settings, and autograd's thread has torch's defaults. Afterwards they are restored.
        before = dynamo.recompile_limit, dynamo.specialize_float, shapes.use_duck_shape
        dynamo.recompile_limit = max(before[0], KERNELS)  # a network has one for each kind of sum
        dynamo.specialize_float = True  # else a constant that is an argument rounds differently than in eager kernels
        shapes.use_duck_shape = False  # sizes may be equal by chance
        try:
            # The methods run everything else uncompiled.
            with torch.compiler.set_stance("default"):
                return kernel(*args, **kwargs)
        except (OSError, torch._dynamo.exc.BackendCompilerFailed) as error:
            if why := _why_not_written(error):
                raise CompileCacheError(
                    f"torch.compile cannot write what it compiles ({why}): it writes to "
                    f"{os.environ['TORCHINDUCTOR_CACHE_DIR']} and {tempfile.gettempdir()}; make room there, or set "
                    "TORCHINDUCTOR_CACHE_DIR and TMPDIR to other folders"
                ) from error
            raise
        finally:
            dynamo.recompile_limit, dynamo.specialize_float, shapes.use_duck_shape = before

    return run


def _why_not_written(error: Exception) -> str:
    """The reason why a disk could not be written; "" if the error is about something else."""
    inner = getattr(error, "inner_exception", error)
    if isinstance(inner, OSError):
        return inner.strerror or str(inner)
    full = os.strerror(errno.ENOSPC)  # said by a C++ compiler
    return full if full in str(inner) else ""


def _use_own_cache() -> None:
    """Keep what torch compiles in a folder that nobody else can write to. Raises CompileCacheError."""
    compile_cache.prepare()  # before the import, which would set torch's own default
    from torch._inductor import codecache

    # torch puts headers into the shared folder for temporary files, whatever is set.
    headers = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) / "precompiled_headers"
    codecache._HEADER_DIR, codecache._HEADER_LOCK_DIR = str(headers), str(headers / "locks")


def wants_compiled(choice: KernelChoice, device: str, *, long: bool = True) -> bool:
    """Whether neurons should be compiled on that type of device.

    "auto" compiles on a GPU, and on a CPU if the work is `long` enough for compiling to save time. A run knows; a
    script is assumed to train for long.
    """
    return choice == "compiled" or (choice == "auto" and (device != "cpu" or long))


def choose(choice: KernelChoice, device: str, *, long: bool = True) -> tuple[Kernel, str]:
    """The kernel, and why it is "eager" although it should be "compiled"; "" if it is as it should be."""
    if not wants_compiled(choice, device, long=long):
        return "eager", ""
    if why := problem(device):
        return "eager", f"neurons run uncompiled, for torch.compile does not work here: {why}"
    return "compiled", ""
