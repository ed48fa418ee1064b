"""Decide whether the neuron loops of a run are compiled."""

import torch

from rbp_engine.preset.schema import Preset
from rbp_engine.printable import one_line
from rbp_engine.spiking.layers import compiler
from rbp_engine.spiking.layers.compiler import Kernel
from rbp_engine.user_code import is_own

# Images times timesteps. Below this, compiling takes longer than it saves: some seconds, more on a busy machine.
LONG_RUN = 1_000_000


def is_long(preset: Preset, steps_per_epoch: int) -> bool:
    """Whether the run is long enough for compiling to save time."""
    images = preset.train.epochs * steps_per_epoch * preset.data.batch_size
    return images * preset.method.timesteps >= LONG_RUN


def choose_kernel(preset: Preset, steps_per_epoch: int, device: torch.device) -> tuple[Kernel, list[str]]:
    """The kernel for `train.kernel`, and a warning if it should be compiled but that does not work here."""
    asked, long = preset.train.kernel, is_long(preset, steps_per_epoch)
    if is_own(preset.neuron.name):
        wanted = compiler.wants_compiled(asked, device.type, long=long)
        warning = f"neurons run uncompiled, for {one_line(preset.neuron.name)} is a neuron of your own"
        return "eager", [warning] if wanted else []
    kernel, problem = compiler.choose(asked, device.type, long=long)
    return kernel, [problem] if problem else []
