"""VGG networks (paper, appendix): conv 3×3 with bias, batch norm and neuron, average pooling, one linear layer."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from torch import nn

from rbp_engine.models.blocks import Networks, Neuron, conv_norm, initialised


def vgg(
    widths: Sequence[int | str],
    side: int,
    *,
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str = "kaiming",
    pooled: bool = True,
) -> nn.Sequential:
    """The convolutions of these widths, averaged to `side`² places (unless they are that already), FC 512·side²→C."""
    pool = [nn.AdaptiveAvgPool2d(side)] if pooled else []
    layers = [*convolutions(widths, in_channels, neuron), *pool, nn.Flatten(), nn.Linear(512 * side**2, num_classes)]
    return initialised(nn.Sequential(*layers), init, normal_deviation=0.5)


def convolutions(
    widths: Sequence[int | str], in_channels: int, neuron: Neuron, *, bias: bool = True
) -> list[nn.Module]:
    """conv 3×3, batch norm and neuron for each width; for an "A" a 2×2 average pool."""
    layers: list[nn.Module] = []
    for width in widths:
        if isinstance(width, str):
            layers.append(nn.AvgPool2d(2))
        else:
            layers += [*conv_norm(in_channels, width, 3, bias=bias), neuron()]
            in_channels = width
    return layers


def convnet(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming") -> nn.Sequential:
    """A small network for small images, used by the presets `digits` and `mnist5k`: 32-A-64-A-128-AA3, FC 1152→C.

    A number is conv 3×3, batch norm, neuron; A is a 2×2 average pool, AA3 averages to 3×3.
    """
    layers = convolutions((32, "A", 64, "A", 128), in_channels, neuron, bias=False)
    layers += [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(128 * 9, num_classes)]
    return initialised(nn.Sequential(*layers), init)


NETWORKS: Final[Networks] = {
    "convnet": convnet,
    "vgg11": partial(vgg, (64, "A", 128, 256, "A", 512, 512, "A", 512, "A", 512, 512), 1),
    "vgg13": partial(vgg, (64, 64, "A", 128, 128, "A", 256, 256, "A", 512, 512, 512, "A", 512), 1),
    "vggsnn_cifar": partial(vgg, (64, 128, "A", 256, 256, "A", 512, 512, "A", 512, 512), 3),
    # For frames of 48×48, of which 3×3 places are left.
    "vggsnn_dvs": partial(vgg, (64, 128, "A", 256, 256, "A", 512, 512, "A", 512, 512, "A"), 3, pooled=False),
}
