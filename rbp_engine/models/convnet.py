"""A small convolutional network for small images, used by the presets `digits` and `mnist5k`."""

from torch import nn

from rbp_engine.models.blocks import Neuron, initialised
from rbp_engine.models.vgg import convolutions


def convnet(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming") -> nn.Sequential:
    """32-A-64-A-128-AA3, FC 1152→C: conv 3×3, batch norm, neuron; A is a 2×2 average pool, AA3 averages to 3×3."""
    layers = convolutions((32, "A", 64, "A", 128), in_channels, neuron, bias=False)
    layers += [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(128 * 9, num_classes)]
    return initialised(nn.Sequential(*layers), init)
