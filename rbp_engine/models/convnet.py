"""A small convolutional network for small images, used by the presets `digits` and `mnist5k`."""

from collections.abc import Callable

from torch import nn

from rbp_engine.models.initial import initialise

Neuron = Callable[[], nn.Module]


def convnet(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming") -> nn.Sequential:
    """32-A-64-A-128-AA3, FC 1152→C: conv 3×3, batch norm, neuron; A is a 2×2 average pool, AA3 averages to 3×3."""
    layers: list[nn.Module] = []
    channels = in_channels
    for width in (32, "A", 64, "A", 128):
        if isinstance(width, str):
            layers.append(nn.AvgPool2d(2))
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), neuron()]
        channels = width
    layers += [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(channels * 9, num_classes)]
    model = nn.Sequential(*layers)
    initialise(model, init)
    return model
