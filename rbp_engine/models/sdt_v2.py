"""Spike-driven Transformer V2, Meta-SpikeFormer (Yao et al., ICLR 2024): convolutional stages, then attention.

Shortcuts are between currents. An image of S² pixels becomes (S/16)² tokens.
"""

from functools import partial
from typing import Any, Final

import torch.nn.functional as F
from torch import nn

from rbp_engine.models.blocks import (
    Networks,
    Neuron,
    Residual,
    Transformer,
    conv_norm,
    currents_mlp,
    initialised,
    self_attention,
)


def convolution_block(width: int, neuron: Neuron) -> Residual:
    """x + separable convolution, then x + channel convolution: twice neuron, conv 3×3, batch norm, 4× as wide."""
    wide = 4 * width
    return Residual(
        after="separable",
        separable=separable_convolution(width, neuron),
        neuron1=neuron(),
        conv1=conv_norm(width, wide, 3),
        neuron2=neuron(),
        conv2=conv_norm(wide, width, 3),
    )


def separable_convolution(width: int, neuron: Neuron) -> Residual:
    """x + neuron, 1×1 to twice the width, neuron, depthwise 7×7, 1×1 back; batch norms after both 1×1 convolutions."""
    wide = 2 * width
    return Residual(
        neuron1=neuron(),
        widen=conv_norm(width, wide),
        neuron2=neuron(),
        narrow=nn.Sequential(nn.Conv2d(wide, wide, 7, padding=3, groups=wide, bias=False), *conv_norm(wide, width)),
    )


class PaddedBatchNorm(nn.BatchNorm2d):
    """A batch norm whose output is padded by one pixel, with the value to which its running statistics map zero.

    So the convolutions before and after it are together one convolution that pads with zeros.
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
    """x + LIF(q·(kᵀ·v) / 4) by heads, between two reparameterised convolutions of spikes."""

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
        return self.project(self.attended(self_attention(q, k, v).reshape(x.shape))) + x


def attention_block(width: int, heads: int, neuron: Neuron) -> Residual:
    """x + attention, then x + MLP."""
    return Residual(after="attention", attention=SpikingAttention(width, heads, neuron), **currents_mlp(width, neuron))


def sdt_v2(
    widths: tuple[int, int, int, int],
    depths: tuple[int, int] = (6, 2),
    heads: int = 8,
    *,
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str = "kaiming",
) -> Transformer:
    """Stages of convolution blocks at 1/2, 1/4 and 1/8 of the image's side, of attention at 1/16, mean, neuron, head.

    Arguments:
        widths: of the convolution stage at 1/4, that at 1/8, and both stages of attention; at 1/2 half of the first.
        depths: number of blocks in both stages of attention.
        init: "paper" draws weights from N(0, 0.02²).
    """
    first, second, third, fourth = widths
    stages = nn.ModuleList(
        [
            *conv_norm(in_channels, first // 2, 7, 2, bias=True),
            convolution_block(first // 2, neuron),
            *_downsampling(first // 2, first, 2, neuron),
            convolution_block(first, neuron),
            *_downsampling(first, second, 2, neuron),
            convolution_block(second, neuron),
            convolution_block(second, neuron),
            *_downsampling(second, third, 2, neuron),
            *(attention_block(third, heads, neuron) for _ in range(depths[0])),
            *_downsampling(third, fourth, 1, neuron),
            *(attention_block(fourth, heads, neuron) for _ in range(depths[1])),
        ]
    )
    model = Transformer(stages=stages, neuron=neuron(), head=nn.Linear(fourth, num_classes))
    return initialised(model, init, normal_deviation=0.02)


def _downsampling(in_channels: int, channels: int, stride: int, neuron: Neuron) -> list[nn.Module]:
    return [neuron(), *conv_norm(in_channels, channels, 3, stride, bias=True)]


NETWORKS: Final[Networks] = {
    # For small images.
    "sdt_v2_3_96": partial(sdt_v2, (24, 48, 96, 128), (2, 1), 4),
    # For ImageNet.
    "sdt_v2_8_256": partial(sdt_v2, (64, 128, 256, 360)),
    "sdt_v2_8_384": partial(sdt_v2, (96, 192, 384, 480)),
    "sdt_v2_8_512": partial(sdt_v2, (128, 256, 512, 640)),
}
