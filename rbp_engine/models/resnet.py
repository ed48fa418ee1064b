"""Post-activation spiking ResNets for 32×32 images (paper, appendix)."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Final

from torch import nn

from rbp_engine.models.blocks import (
    NamedSequential,
    Networks,
    Neuron,
    Residual,
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


NETWORKS: Final[Networks] = {"resnet18": resnet18, "resnet19": resnet19}
