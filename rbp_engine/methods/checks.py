"""What a method checks before its first step with a model."""

import os
import warnings
from functools import cache
from numbers import Integral
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel

from rbp_engine.cores import let_threads_sleep
from rbp_engine.spiking.convert.spikingjelly_map import why_not_trained

# A load of the last minute, by core. What a script itself uses before its first step is less.
_BUSY = 0.5


def check_timesteps(timesteps: Any) -> None:
    """Raise TypeError unless T is a whole number, ValueError unless it is at least 1."""
    if not isinstance(timesteps, Integral) or isinstance(timesteps, bool):
        raise TypeError(f"timesteps must be a whole number, got {timesteps!r}")
    if timesteps < 1:
        raise ValueError(f"timesteps must be at least 1, got {timesteps}")


def check_neurons(model: nn.Module) -> None:
    """Raise TypeError if the network has neurons of SpikingJelly, is one of its networks with T > 1, or would be split
    by torch.nn.DataParallel.
    """
    if any(isinstance(module, DataParallel) for module in model.modules()):
        raise TypeError(
            "torch.nn.DataParallel divides tensors among GPUs, and spikes over time are none: leave it out. For "
            "several GPUs start a process for each: use --nproc, or DistributedDataParallel in a script of your own"
        )
    if why := why_not_trained(model):
        raise TypeError(why)


@cache
def warn_of_spinning_threads() -> None:
    """Warn, at the first step of a process, if its threads spin on a machine whose cores are busy."""
    load = os.getloadavg()[0] / len(os.sched_getaffinity(0))
    if load > _BUSY and torch.get_num_threads() > 1 and not let_threads_sleep():
        warnings.warn(
            f"the cores are busy (load {load:.1f} a core in the last minute). Beside other programs a step takes "
            "several times as long, for torch was imported before rbp_engine, so its threads spin while they wait: "
            "import rbp_engine first, or set OMP_WAIT_POLICY=PASSIVE and GOMP_SPINCOUNT=1000",
            stacklevel=4,
        )


def warn_of_silent_hooks(model: nn.Module) -> None:
    """Warn of full backward hooks: torch calls them only for modules whose inputs are tensors."""
    named = model.named_modules()
    if hooked := [name or "the network" for name, x in named if x._backward_hooks or x._backward_pre_hooks]:
        warnings.warn(
            f"backward hooks never run in a step, because modules receive spikes over time and not tensors: "
            f"{', '.join(hooked)}. Hooks on parameters do (Tensor.register_hook)",
            stacklevel=5,
        )
