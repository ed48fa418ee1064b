"""Spiking ResNets (paper, appendix): post-activation for 32×32 images; SEW and pre-activation for ImageNet.

Those for ImageNet have a stem of 7×7, a max pool 3×3, and convolutions with bias.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Final

from torch import nn

from rbp_engine.models.blocks import (
    NamedSequential,
    Networks,
    Neuron,
    PreActBlock,
    Residual,
    conv_norm,
    initialised,
    projection,
    residual_stages,
)


class BasicBlock(Residual):
    """conv-BN-neuron, conv-BN, plus the shortcut, neuron; the shortcut is conv 1×1-BN where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int, neuron: Neuron) -> None:
        super().__init__(
            conv1=nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False),
            bn1=nn.BatchNorm2d(channels),
            neuron1=neuron(),
            conv2=nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            bn2=nn.BatchNorm2d(channels),
            shortcut=projection(in_channels, channels, stride),
            neuron2=neuron(),
        )


class ResNet(NamedSequential):
    """A 3×3 stem, stages of basic blocks (each after the first halves the image), global average pool, linear head."""

    def __init__(
        self, blocks: Sequence[int], widths: Sequence[int], in_channels: int, neuron: Neuron, head: nn.Module
    ) -> None:
        super().__init__(
            conv1=nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(widths[0]),
            neuron1=neuron(),
            stages=nn.ModuleList(
                chain(*residual_stages(partial(BasicBlock, neuron=neuron), blocks, widths, widths[0]))
            ),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            head=head,
        )


def resnet18(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming", width: int = 64) -> ResNet:
    """[2, 2, 2, 2] blocks of widths `width` (the paper's: 64) to 8·`width`, FC 8·`width`→C."""
    head = nn.Linear(8 * width, num_classes)
    widths = [width, 2 * width, 4 * width, 8 * width]
    return initialised(ResNet([2, 2, 2, 2], widths, in_channels, neuron, head), init)


def resnet19(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming") -> ResNet:
    """[3, 3, 2] blocks of widths 128/256/512, FC 512→256, neuron, FC 256→C."""
    head = nn.Sequential(nn.Linear(512, 256), neuron(), nn.Linear(256, num_classes))
    return initialised(ResNet([3, 3, 2], [128, 256, 512], in_channels, neuron, head), init)


class SEWBlock(Residual):
    """conv-BN-neuron twice, then + the shortcut, which is conv 1×1-BN-neuron where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int, neuron: Neuron) -> None:
        super().__init__(
            conv1=nn.Conv2d(in_channels, channels, 3, stride, padding=1),
            bn1=nn.BatchNorm2d(channels),
            neuron1=neuron(),
            conv2=nn.Conv2d(channels, channels, 3, padding=1),
            bn2=nn.BatchNorm2d(channels),
            neuron2=neuron(),
            shortcut=projection(in_channels, channels, stride, bias=True, neuron=neuron),
        )


def resnet34(
    block: Callable[..., nn.Module],
    *,
    spiking_stem: bool,
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str = "kaiming",
) -> nn.Sequential:
    """Stem conv-BN-maxpool, with a neuron before the pool in a `spiking_stem`, [3, 4, 6, 3] blocks, FC 512→C."""
    blocks = residual_stages(partial(block, neuron=neuron), (3, 4, 6, 3), (64, 128, 256, 512), 64)
    network = nn.Sequential(
        *conv_norm(in_channels, 64, 7, 2, bias=True),
        *([neuron()] if spiking_stem else []),
        nn.MaxPool2d(3, 2, padding=1),
        *chain(*blocks),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, num_classes),
    )
    # Here the paper's initial weights are Kaiming by fan-out, the same as "kaiming".
    return initialised(network, "kaiming" if init == "paper" else init)


NETWORKS: Final[Networks] = {
    "resnet18": resnet18,
    "resnet19": resnet19,
    # Spike-element-wise (ADD).
    "sew_resnet34": partial(resnet34, SEWBlock, spiking_stem=True),
    # No neuron in the stem nor after the last block.
    "preact_resnet34": partial(resnet34, partial(PreActBlock, bias=True), spiking_stem=False),
}
