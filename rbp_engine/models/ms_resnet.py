"""MS-ResNets: the shortcut carries currents, not spikes, and every convolution of a block gets spikes.

Hu et al., Advancing Spiking Neural Networks Toward Deep Residual Learning, TNNLS 2024. Max-ResNet halves the image by
max pools in the blocks: Fang et al., Spiking Neural Networks Need High-Frequency Information, NeurIPS 2025.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from rbp_engine.models.initial import Neuron, initialised

WIDTHS = (64, 128, 256, 512)


class MSBlock(nn.Module):
    """neuron-conv-BN twice, then + the shortcut, which is conv 1×1-BN of the current where the shape changes."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, neuron: Neuron, *, max_pool: bool, average_pool: bool
    ) -> None:
        super().__init__()
        pooled = max_pool and stride != 1
        self.neuron1 = neuron()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, 1 if pooled else stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pool = nn.MaxPool2d(3, stride, padding=1) if pooled else nn.Identity()
        self.neuron2 = neuron()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            pools = [nn.AvgPool2d(stride)] if average_pool and stride != 1 else []
            convolution = nn.Conv2d(in_channels, channels, 1, 1 if pools else stride, bias=False)
            self.shortcut = nn.Sequential(*pools, convolution, nn.BatchNorm2d(channels))

    def forward(self, x: Any) -> Any:
        out = self.pool(self.bn1(self.conv1(self.neuron1(x))))
        out = self.bn2(self.conv2(self.neuron2(out)))
        return out + self.shortcut(x)


class MSResNet(nn.Module):
    """A stem of convolution and batch norm, stages of blocks, neuron, global average pool, linear head.

    Arguments:
        blocks, widths: of each stage.
        stem: kernel and stride of the stem's convolution.
        stride: of the first stage; that of the others is 2.
        max_pool: blocks halve the image by a max pool and not by the stride of their first convolution.
        average_pool: shortcuts halve it by an average pool and not by the stride of their convolution.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        widths: Sequence[int],
        stem: tuple[int, int],
        stride: int,
        num_classes: int,
        in_channels: int,
        neuron: Neuron,
        *,
        max_pool: bool,
        average_pool: bool,
    ) -> None:
        super().__init__()
        kernel, step = stem
        channels = min(widths[0], WIDTHS[0])
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, kernel, step, padding=kernel // 2, bias=False), nn.BatchNorm2d(channels)
        )
        self.stages = nn.Sequential()
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            layer = nn.Sequential()
            for step in [stride if stage == 0 else 2] + [1] * (count - 1):
                layer.append(MSBlock(channels, width, step, neuron, max_pool=max_pool, average_pool=average_pool))
                channels = width
            self.stages.append(layer)
        self.neuron = neuron()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        # Not `self.stages(x)`: while a module runs, torch keeps a reference to its input.
        for stage in self.stages:
            for block in stage.children():
                x = block(x)
        return self.head(self.flatten(self.pool(self.neuron(x))))


def ms_resnet(
    blocks: Sequence[int],
    widths: Sequence[int] = WIDTHS,
    stem: tuple[int, int] = (7, 2),
    stride: int = 2,
    *,
    max_pool: bool = False,
    average_pool: bool = False,
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str = "kaiming",
) -> MSResNet:
    """An MS-ResNet; "paper" starts batch norms at 1/2, and the last of a block at 0, which makes it its shortcut."""
    model = MSResNet(
        blocks, widths, stem, stride, num_classes, in_channels, neuron, max_pool=max_pool, average_pool=average_pool
    )
    if init != "paper":
        return initialised(model, init)
    for name, norm in model.named_modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.constant_(norm.weight, 0.0 if name.endswith("bn2") else 0.5)
    return initialised(model, "kaiming")


def from_spikingjelly(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a network of `spikingjelly.activation_based.model.ms_resnet`, for the same size here.

    Its neurons are `LIF(decay=0.25, threshold=0.5, reset="hard")` in an MS-ResNet, and `LIF(decay=0.5, threshold=2.0,
    reset="hard")` in a Max-ResNet.
    """
    renamed = {
        re.sub(r"^layer(\d)\.", lambda found: f"stages.{int(found[1]) - 1}.", name): value
        for name, value in state.items()
    }
    return {name.replace(".downsample.", ".shortcut."): value for name, value in renamed.items()}


# For ImageNet.
ms_resnet18 = partial(ms_resnet, (2, 2, 2, 2))
ms_resnet34 = partial(ms_resnet, (3, 4, 6, 3))
ms_resnet104 = partial(ms_resnet, (3, 8, 32, 8), average_pool=True)
# For CIFAR, with the blocks and widths of ResNet-19.
ms_resnet18_cifar = partial(ms_resnet, (3, 3, 2), (128, 256, 512), (3, 1), 1)
max_resnet18_cifar = partial(ms_resnet18_cifar, max_pool=True)
