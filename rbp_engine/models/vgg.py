"""VGG networks (paper, appendix): conv 3×3 with bias, batch norm and neuron, average pooling, one linear layer."""

from collections.abc import Callable

from torch import nn

from rbp_engine.models.initial import initialise

Neuron = Callable[[], nn.Module]

# Widths of the convolutions; "A" is a 2×2 average pool.
VGG11 = (64, "A", 128, 256, "A", 512, 512, "A", 512, "A", 512, 512)


def vgg11(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming") -> nn.Sequential:
    """64-A-128-256-A-512-512-A-512-A-512-512-AA, FC 512→C; AA is an adaptive average pool to 1×1."""
    return _vgg(VGG11, num_classes=num_classes, in_channels=in_channels, neuron=neuron, init=init)


def _vgg(
    widths: tuple[int | str, ...], *, num_classes: int, in_channels: int, neuron: Neuron, init: str
) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = in_channels
    for width in widths:
        if isinstance(width, str):
            layers.append(nn.AvgPool2d(2))
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), neuron()]
        channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
    model = nn.Sequential(*layers)
    initialise(model, init, normal_deviation=0.5)
    return model
