"""A tiny network of one's own that sleeps at each step: a long run with it leaves the cores to the other tests."""

import time
from collections.abc import Callable

from torch import Tensor, nn

STEP_S = 0.05


class Idle(nn.Sequential):
    def forward(self, images: Tensor) -> Tensor:
        time.sleep(STEP_S)
        found: Tensor = super().forward(images)
        return found


def net(*, num_classes: int, in_channels: int, neuron: Callable[[], nn.Module]) -> nn.Module:
    """Images of any size [B, C, H, W] to one logit for each class."""
    return Idle(
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * in_channels, 4), neuron(), nn.Linear(4, num_classes)
    )
