"""SEW- and PreAct-ResNet-34 for ImageNet (paper, appendix): 7×7 stem, 3×3 max pool, convolutions with bias."""

from typing import Any

from torch import nn

from rbp_engine.models.initial import Neuron, initialised

BLOCKS = (3, 4, 6, 3)
WIDTHS = (64, 128, 256, 512)


class SEWBlock(nn.Module):
    """conv-BN-neuron twice, then identity + out; the identity is conv 1×1-BN-neuron where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int, neuron: Neuron) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.neuron1 = neuron()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.neuron2 = neuron()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride), nn.BatchNorm2d(channels), neuron()
            )

    def forward(self, x: Any) -> Any:
        out = self.neuron1(self.bn1(self.conv1(x)))
        out = self.neuron2(self.bn2(self.conv2(out)))
        return out + self.shortcut(x)


class PreActBlock(nn.Module):
    """neuron-conv-BN twice, then + identity; the identity is conv 1×1-BN where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int, neuron: Neuron) -> None:
        super().__init__()
        self.neuron1 = neuron()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.neuron2 = neuron()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride), nn.BatchNorm2d(channels))

    def forward(self, x: Any) -> Any:
        out = self.bn1(self.conv1(self.neuron1(x)))
        out = self.bn2(self.conv2(self.neuron2(out)))
        return out + self.shortcut(x)


def sew_resnet34(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming") -> nn.Sequential:
    """Stem conv-BN-neuron-maxpool, [3, 4, 6, 3] spike-element-wise (ADD) blocks, FC 512→C."""
    return _resnet34(SEWBlock, [neuron()], num_classes, in_channels, neuron, init)


def preact_resnet34(*, num_classes: int, in_channels: int, neuron: Neuron, init: str = "kaiming") -> nn.Sequential:
    """Stem conv-BN-maxpool, [3, 4, 6, 3] pre-activation blocks, FC 512→C; no neuron in the stem nor after the last."""
    return _resnet34(PreActBlock, [], num_classes, in_channels, neuron, init)


def _resnet34(
    block: type[SEWBlock] | type[PreActBlock],
    stem_neuron: list[nn.Module],
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str,
) -> nn.Sequential:
    channels = WIDTHS[0]
    layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 7, 2, padding=3), nn.BatchNorm2d(channels)]
    layers += [*stem_neuron, nn.MaxPool2d(3, 2, padding=1)]
    for stage, (count, width) in enumerate(zip(BLOCKS, WIDTHS, strict=True)):
        for number in range(count):
            layers.append(block(channels, width, 2 if stage > 0 and number == 0 else 1, neuron))
            channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
    # Here the paper's initial weights are Kaiming by fan-out, the same as "kaiming".
    return initialised(nn.Sequential(*layers), "kaiming" if init == "paper" else init)
