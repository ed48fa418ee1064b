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
    bias: bool = True,
    normal_deviation: float | None = 0.5,
) -> nn.Sequential:
    """conv 3×3, batch norm and neuron for each width, a 2×2 average pool for an "A"; then a linear layer.

    Before it maps are averaged to `side`² places, unless they have that size already. `normal_deviation` is that of
    `initialised`.
    """
    layers: list[nn.Module] = []
    for width in widths:
        if isinstance(width, str):
            layers.append(nn.AvgPool2d(2))
        else:
            layers += [*conv_norm(in_channels, width, 3, bias=bias), neuron()]
            in_channels = width
    layers += [nn.AdaptiveAvgPool2d(side)] if pooled else []
    layers += [nn.Flatten(), nn.Linear(in_channels * side**2, num_classes)]
    return initialised(nn.Sequential(*layers), init, normal_deviation=normal_deviation)


#: A small network for small images, used by the presets `digits` and `mnist5k`.
convnet = partial(vgg, (32, "A", 64, "A", 128), 3, bias=False, normal_deviation=None)
NETWORKS: Final[Networks] = {
    "convnet": convnet,
    "vgg11": partial(vgg, (64, "A", 128, 256, "A", 512, 512, "A", 512, "A", 512, 512), 1),
    "vgg13": partial(vgg, (64, 64, "A", 128, 128, "A", 256, 256, "A", 512, 512, 512, "A", 512), 1),
    "vggsnn_cifar": partial(vgg, (64, 128, "A", 256, 256, "A", 512, 512, "A", 512, 512), 3),
    # For frames of 48×48, of which 3×3 places are left.
    "vggsnn_dvs": partial(vgg, (64, 128, "A", 256, 256, "A", 512, 512, "A", 512, 512, "A"), 3, pooled=False),
}
