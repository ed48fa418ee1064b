"""Decide whether the neuron loops of a run are compiled."""

import torch

from rbp_engine.preset.schema import Preset
from rbp_engine.printable import one_line
from rbp_engine.spiking.kernels import compiled
from rbp_engine.spiking.lif_parameters import Kernel
from rbp_engine.user_code import is_own

# Images times timesteps. Below this, compiling takes longer than it saves: some seconds, more on a busy machine.
LONG_RUN = 1_000_000


def is_long(preset: Preset, steps_per_epoch: int) -> bool:
    """Whether the run is long enough for compiling to save time."""
    images = preset.train.epochs * steps_per_epoch * preset.data.batch_size
    return images * preset.method.timesteps >= LONG_RUN


def choose_kernel(preset: Preset, steps_per_epoch: int, device: torch.device) -> tuple[Kernel, list[str]]:
    """The kernel for `train.kernel`, and a warning if it should be compiled but that does not work here.

    `auto` compiles on a GPU, and on a CPU if the run is long enough.
    """
    short = device.type == "cpu" and not is_long(preset, steps_per_epoch)
    if preset.train.kernel == "eager" or (preset.train.kernel == "auto" and short):
        return "eager", []
    if is_own(preset.neuron.name):
        return "eager", [f"neurons run uncompiled, for {one_line(preset.neuron.name)} is a neuron of your own"]
    if problem := compiled.problem(device.type):
        return "eager", [f"neurons run uncompiled, for torch.compile does not work here: {problem}"]
    return "compiled", []
