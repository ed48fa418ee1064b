"""VGG networks (paper, appendix): conv 3×3 with bias, batch norm and neuron, average pooling, one linear layer."""

from collections.abc import Sequence

from torch import nn

from rbp_engine.models.initial import Neuron, initialised

# Widths of the convolutions; "A" is a 2×2 average pool.
VGG11 = (64, "A", 128, 256, "A", 512, 512, "A", 512, "A", 512, 512)
VGG13 = (64, 64, "A", 128, 128, "A", 256, 256, "A", 512, 512, 512, "A", 512)
VGGSNN_CIFAR = (64, 128, "A", 256, 256, "A", 512, 512, "A", 512, 512)
VGGSNN_DVS = (64, 128, "A", 256, 256, "A", 512, 512, "A", 512, 512, "A")


def vgg11(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming") -> nn.Sequential:
    """64-A-128-256-A-512-512-A-512-A-512-512-AA, FC 512→C; AA is an adaptive average pool to 1×1."""
    return _vgg(VGG11, [nn.AdaptiveAvgPool2d(1)], 512, num_classes, in_channels, neuron, init)


def vgg13(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming") -> nn.Sequential:
    """64-64-A-128-128-A-256-256-A-512-512-512-A-512-AA, FC 512→C."""
    return _vgg(VGG13, [nn.AdaptiveAvgPool2d(1)], 512, num_classes, in_channels, neuron, init)


def vggsnn_cifar(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming") -> nn.Sequential:
    """64-128-A-256-256-A-512-512-A-512-512-AA3, FC 4608→C; AA3 is an adaptive average pool to 3×3."""
    return _vgg(VGGSNN_CIFAR, [nn.AdaptiveAvgPool2d(3)], 4608, num_classes, in_channels, neuron, init)


def vggsnn_dvs(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming") -> nn.Sequential:
    """64-128-A-256-256-A-512-512-A-512-512-A, FC 4608→C, for frames of 48×48."""
    return _vgg(VGGSNN_DVS, [], 4608, num_classes, in_channels, neuron, init)


def _vgg(
    widths: Sequence[int | str],
    last_pool: list[nn.Module],
    features: int,
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str,
) -> nn.Sequential:
    layers = [*convolutions(widths, in_channels, neuron), *last_pool, nn.Flatten(), nn.Linear(features, num_classes)]
    return initialised(nn.Sequential(*layers), init, normal_deviation=0.5)


def convolutions(
    widths: Sequence[int | str], in_channels: int, neuron: Neuron, *, bias: bool = True
) -> list[nn.Module]:
    """conv 3×3, batch norm and neuron for each width; for an "A" a 2×2 average pool."""
    layers: list[nn.Module] = []
    channels = in_channels
    for width in widths:
        if isinstance(width, str):
            layers.append(nn.AvgPool2d(2))
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=bias), nn.BatchNorm2d(width), neuron()]
        channels = width
    return layers
