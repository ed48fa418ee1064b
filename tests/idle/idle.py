"""A tiny network that sleeps at each step: a long run with it leaves the cores to other tests.

With $IDLE_STEP_S, seconds, it sleeps longer or shorter: a run that has to be stopped before its end can take its time
until then, and hurry afterwards.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

STEP_S = float(os.environ.get("IDLE_STEP_S", "0.05"))
# Settings for a long run that only has to be alive while a test looks: it sleeps, and compiles nothing.
IDLE = (f"arch={Path(__file__)}:net", "train.kernel=eager")


class Idle(nn.Sequential):
    def forward(self, images: Tensor) -> Tensor:
        time.sleep(STEP_S)
        found: Tensor = super().forward(images)
        return found


def net(*, num_classes: int, in_channels: int, neuron: Callable[[], nn.Module]) -> nn.Module:
    """Images of any size [B, C, H, W] to one logit per class."""
    return Idle(
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * in_channels, 4), neuron(), nn.Linear(4, num_classes)
    )
