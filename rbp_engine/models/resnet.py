"""Post-activation spiking ResNets for 32×32 images (paper, appendix)."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from rbp_engine.models.initial import Neuron, initialised


class BasicBlock(nn.Module):
    """conv-BN-neuron, conv-BN, plus the shortcut, neuron; the shortcut is conv 1×1-BN where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int, neuron: Neuron) -> None:
        super().__init__()
        # Parameters are in order of execution, with the shortcut's last.
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.neuron1 = neuron()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.neuron2 = neuron()

    def forward(self, x: Any) -> Any:
        out = self.neuron1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.neuron2(out + self.shortcut(x))


class ResNet(nn.Module):
    """A 3×3 stem, stages of basic blocks (each after the first halves the image), global average pool, linear head."""

    def __init__(
        self, blocks: Sequence[int], widths: Sequence[int], in_channels: int, neuron: Neuron, head: nn.Module
    ) -> None:
        super().__init__()
        channels = widths[0]
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.neuron1 = neuron()
        self.stages = nn.Sequential()
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                self.stages.append(BasicBlock(channels, width, stride, neuron))
                channels = width
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = head

    def forward(self, x: Any) -> Any:
        x = self.neuron1(self.bn1(self.conv1(x)))
        # Not `self.stages(x)`: while a module runs, torch keeps a reference to its input.
        for block in self.stages:
            x = block(x)
        return self.head(self.flatten(self.pool(x)))


def resnet18(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming", width: int = 64) -> ResNet:
    """[2, 2, 2, 2] blocks of widths `width` (the paper's: 64) to 8·`width`, FC 8·`width`→C."""
    head = nn.Linear(8 * width, num_classes)
    widths = [width, 2 * width, 4 * width, 8 * width]
    return initialised(ResNet([2, 2, 2, 2], widths, in_channels, neuron, head), init)


def resnet19(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming") -> ResNet:
    """[3, 3, 2] blocks of widths 128/256/512, FC 512→256, neuron, FC 256→C."""
    head = nn.Sequential(nn.Linear(512, 256), neuron(), nn.Linear(256, num_classes))
    return initialised(ResNet([3, 3, 2], [128, 256, 512], in_channels, neuron, head), init)
