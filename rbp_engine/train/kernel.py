"""Whether the loops of a run's neurons are compiled."""

import torch

from rbp_engine.spiking import compiled
from rbp_engine.spiking.lif import Kernel

# Below this, compiling for half a minute takes longer than it saves.
LONG_RUN = 1_000_000


def choose_kernel(wanted: str, device: torch.device, images: int, timesteps: int) -> Kernel:
    """The kernel for `auto`, `eager` or `compiled`; `images` are those of all epochs.

    `auto` compiles on a GPU, and on a CPU for a run of a million images times timesteps or more.
    """
    if wanted == "eager" or (wanted == "auto" and device.type == "cpu" and images * timesteps < LONG_RUN):
        return "eager"
    return "compiled" if compiled.usable(device.type) else "eager"
