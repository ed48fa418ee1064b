"""Spike-driven Transformer V2, Meta-SpikeFormer (Yao et al., ICLR 2024): convolutional stages, then attention.

Shortcuts are between currents. An image of S² pixels becomes (S/16)² tokens.
"""

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import nn

from rbp_engine.models.initial import Neuron, initialised


class SeparableConvolution(nn.Module):
    """neuron, 1×1 to twice the width, neuron, depthwise 7×7, 1×1 back; batch norms after both 1×1 convolutions."""

    def __init__(self, width: int, neuron: Neuron) -> None:
        super().__init__()
        wide = 2 * width
        self.neuron1 = neuron()
        self.widen = nn.Sequential(nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide))
        self.neuron2 = neuron()
        self.narrow = nn.Sequential(
            nn.Conv2d(wide, wide, 7, padding=3, groups=wide, bias=False),
            nn.Conv2d(wide, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Any) -> Any:
        return self.narrow(self.neuron2(self.widen(self.neuron1(x))))


class ConvolutionBlock(nn.Module):
    """x + separable convolution, then x + channel convolution: twice neuron, conv 3×3, batch norm, 4× as wide."""

    def __init__(self, width: int, neuron: Neuron) -> None:
        super().__init__()
        wide = 4 * width
        self.separable = SeparableConvolution(width, neuron)
        self.neuron1 = neuron()
        self.conv1 = nn.Sequential(nn.Conv2d(width, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide))
        self.neuron2 = neuron()
        self.conv2 = nn.Sequential(nn.Conv2d(wide, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Any) -> Any:
        x = self.separable(x) + x
        return self.conv2(self.neuron2(self.conv1(self.neuron1(x)))) + x


class PaddedBatchNorm(nn.BatchNorm2d):
    """A batch norm whose output is padded by one pixel of the value that it gives to zero by its running statistics.

    So a convolution before it and one after it are together one convolution that pads with zeros.
    """

    def forward(self, x: Any) -> Any:
        out = F.pad(super().forward(x), (1, 1, 1, 1))
        zero = self.weight.new_zeros(1, self.num_features, 1, 1)
        border = F.batch_norm(zero, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps).detach()
        inside = F.pad(zero.new_ones(x.shape[-2:]), (1, 1, 1, 1))
        return out + (border[0] * (1 - inside)).to(out.dtype)


def reparameterised(width: int) -> nn.Sequential:
    """1×1, depthwise 3×3 and 1×1 convolution with batch norms: with no neuron between them, they are one 3×3."""
    return nn.Sequential(
        nn.Conv2d(width, width, 1, bias=False),
        PaddedBatchNorm(width),
        nn.Conv2d(width, width, 3, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.BatchNorm2d(width),
    )


class SpikingAttention(nn.Module):
    """LIF(q·(kᵀ·v) / 4) by heads, between two reparameterised convolutions of spikes.

    The paper's factor is 1/8 with half the threshold of the other neurons; twice the input at their threshold gives
    the same spikes.
    """

    def __init__(self, width: int, heads: int, neuron: Neuron) -> None:
        super().__init__()
        self.heads = heads
        self.neuron = neuron()
        self.q, self.k, self.v = (nn.Sequential(*reparameterised(width), neuron()) for _ in range(3))
        self.attended = neuron()
        self.project = reparameterised(width)

    def forward(self, x: Any) -> Any:
        spikes = self.neuron(x)
        tokens = (len(x), self.heads, -1, x.shape[2] * x.shape[3])
        q, k, v = (branch(spikes).reshape(tokens) for branch in (self.q, self.k, self.v))
        attended = (v @ k.transpose(-2, -1) * 0.25) @ q
        return self.project(self.attended(attended.reshape(x.shape)))


class AttentionBlock(nn.Module):
    """x + attention, then x + MLP: twice neuron, conv 1×1, batch norm, four times as wide in between."""

    def __init__(self, width: int, heads: int, neuron: Neuron) -> None:
        super().__init__()
        wide = 4 * width
        self.attention = SpikingAttention(width, heads, neuron)
        self.neuron1 = neuron()
        self.fc1 = nn.Sequential(nn.Conv2d(width, wide, 1), nn.BatchNorm2d(wide))
        self.neuron2 = neuron()
        self.fc2 = nn.Sequential(nn.Conv2d(wide, width, 1), nn.BatchNorm2d(width))

    def forward(self, x: Any) -> Any:
        x = self.attention(x) + x
        return self.fc2(self.neuron2(self.fc1(self.neuron1(x)))) + x


class SpikeDrivenTransformerV2(nn.Module):
    """Stages of convolution blocks at 1/2, 1/4 and 1/8 of the image's side, of attention at 1/16, then the head.

    Arguments:
        widths: of the convolution stage at 1/4, that at 1/8, and both stages of attention. Half of the first at 1/2.
        depths: number of blocks in both stages of attention.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        depths: tuple[int, int],
        heads: int,
        num_classes: int,
        in_channels: int,
        neuron: Neuron,
    ) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.stages = nn.Sequential(
            *_downsampling(in_channels, first // 2, 7, 2),
            ConvolutionBlock(first // 2, neuron),
            *_downsampling(first // 2, first, 3, 2, neuron),
            ConvolutionBlock(first, neuron),
            *_downsampling(first, second, 3, 2, neuron),
            ConvolutionBlock(second, neuron),
            ConvolutionBlock(second, neuron),
            *_downsampling(second, third, 3, 2, neuron),
            *(AttentionBlock(third, heads, neuron) for _ in range(depths[0])),
            *_downsampling(third, fourth, 3, 1, neuron),
            *(AttentionBlock(fourth, heads, neuron) for _ in range(depths[1])),
        )
        self.neuron = neuron()
        self.head = nn.Linear(fourth, num_classes)

    def forward(self, x: Any) -> Any:
        # Not `self.stages(x)`: while a module runs, torch keeps a reference to its input.
        for stage in self.stages:
            x = stage(x)
        return self.head(self.neuron(x.mean((2, 3))))


def _downsampling(
    in_channels: int, channels: int, kernel: int, stride: int, neuron: Neuron | None = None
) -> list[nn.Module]:
    """neuron (not before the first), convolution, batch norm."""
    before = [neuron()] if neuron else []
    return [*before, nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2), nn.BatchNorm2d(channels)]


def sdt_v2(
    widths: tuple[int, int, int, int],
    depths: tuple[int, int] = (6, 2),
    heads: int = 8,
    *,
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str = "kaiming",
) -> SpikeDrivenTransformerV2:
    """Meta-SpikeFormer with these widths; "paper" draws weights from N(0, 0.02²)."""
    model = SpikeDrivenTransformerV2(widths, depths, heads, num_classes, in_channels, neuron)
    return initialised(model, init, normal_deviation=0.02)


# For ImageNet.
sdt_v2_8_256 = partial(sdt_v2, (64, 128, 256, 360))
sdt_v2_8_384 = partial(sdt_v2, (96, 192, 384, 480))
sdt_v2_8_512 = partial(sdt_v2, (128, 256, 512, 640))
# For small images.
sdt_v2_3_96 = partial(sdt_v2, (24, 48, 96, 128), (2, 1), 4)
