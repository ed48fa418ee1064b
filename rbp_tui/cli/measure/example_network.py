"""The network that `rbp try --example` writes, for a user to change."""

EXAMPLE_FILE = "nets.py"
EXAMPLE = '''"""A network for rbp: layers as usual, and neuron() wherever another network has its ReLU."""

from torch import nn


class MyNet(nn.Sequential):
    def __init__(self, *, num_classes, in_channels, neuron, width=32):
        super().__init__(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), neuron(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), neuron(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes),
        )
'''
