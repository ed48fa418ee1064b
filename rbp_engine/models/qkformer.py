"""QKFormer (Zhou et al., NeurIPS 2024): a hierarchy of stages, whose early ones attend without values.

As in Spikformer, no convolution has a bias, since batch norm follows each; the published code has some, under 0.1 % of
its parameters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from torch import nn

from rbp_engine.models.blocks import (
    Networks,
    Neuron,
    Residual,
    Transformer,
    TransformerBlock,
    conv_norm,
    initialised,
    spikes_mlp,
    spiking_convolutions,
)
from rbp_engine.models.spikformer import SpikingSelfAttention


class TokenQKAttention(nn.Module):
    """Each head lets the keys of a token through if the sum of its queries makes a neuron fire.

    The paper's neuron has half the threshold of the others; twice the input at their threshold gives the same spikes.
    """

    def __init__(self, width: int, heads: int, neuron: Neuron) -> None:
        super().__init__()
        self.heads = heads
        self.qk_conv_bn = conv_norm(width, 2 * width)
        self.qk_lif = neuron()
        self.attn_lif = neuron()
        self.proj_conv_bn = conv_norm(width, width)
        self.proj_lif = neuron()

    def forward(self, x: Any) -> Any:
        spikes = self.qk_lif(self.qk_conv_bn(x))
        q, k = spikes.reshape(len(x), 2, self.heads, -1, *x.shape[2:]).unbind(1)
        attended = self.attn_lif(2.0 * q.sum(2, keepdim=True)) * k
        return self.proj_lif(self.proj_conv_bn(attended.reshape(x.shape)))


@dataclass(frozen=True)
class Stage:
    """A patch embedding of these widths, of which some pool, and `depth` blocks of one kind of attention."""

    widths: tuple[int, ...]
    pooled: tuple[bool, ...]
    depth: int
    attention: Callable[[int, int, Neuron], nn.Module]
    mlp_ratio: int = 4

    def layers(self, in_channels: int, heads: int, neuron: Neuron) -> nn.ModuleList:
        """The layers of the stage, for an input of so many channels."""
        width = self.widths[-1]
        layers = nn.ModuleList([patch_embedding(in_channels, self.widths, self.pooled, neuron)])
        for _ in range(self.depth):
            layers.append(
                TransformerBlock(
                    attn=self.attention(width, heads, neuron), mlp=spikes_mlp(width, neuron, self.mlp_ratio)
                )
            )
        return layers


def patch_embedding(in_channels: int, widths: Sequence[int], pooled: Sequence[bool], neuron: Neuron) -> Residual:
    """Convolutions with neurons, and the input by a 1×1 convolution of the same stride (the deformed shortcut)."""
    return Residual(
        layers=spiking_convolutions(in_channels, widths, pooled, neuron),
        shortcut=nn.Sequential(*conv_norm(in_channels, widths[-1], 1, 2 ** sum(pooled)), neuron()),
    )


def qkformer(
    stem: Mapping[int, bool],
    stages: Sequence[Stage],
    heads: int,
    *,
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str = "kaiming",
) -> Transformer:
    """The network of these stages; `stem` gives the widths of its first convolutions, and which of them pool.

    With `init` "paper" weights are drawn from N(0, 0.02²).
    """
    inputs = [[*stem][-1], *(stage.widths[-1] for stage in stages)]
    model = Transformer(
        stem=spiking_convolutions(in_channels, [*stem], [*stem.values()], neuron),
        stages=nn.ModuleList(
            stage.layers(channels, heads, neuron) for stage, channels in zip(stages, inputs[:-1], strict=True)
        ),
        head=nn.Linear(inputs[-1], num_classes),
    )
    return initialised(model, init, normal_deviation=0.02)


def hierarchy(width: int, heads: int, depths: tuple[int, int, int], **settings: Any) -> Transformer:
    """HST-`sum(depths)`-`width` for ImageNet: pools in the stem and in each stage's first convolution."""
    pooled = (True, False)
    stages = (
        Stage((width // 4,) * 2, pooled, depths[0], TokenQKAttention),
        Stage((width // 2,) * 2, pooled, depths[1], TokenQKAttention),
        Stage((width,) * 2, pooled, depths[2], SpikingSelfAttention),
    )
    return qkformer({width // 8: True}, stages, heads, **settings)


NETWORKS: Final[Networks] = {
    # For 8×8 digits, and for CIFAR.
    "qkformer_digits": partial(
        qkformer,
        {16: False},
        (
            Stage((32,), (False,), 1, TokenQKAttention),
            Stage((64, 64), (False, True), 1, SpikingSelfAttention),
        ),
        4,
    ),
    "qkformer_4_384": partial(
        qkformer,
        {48: False},
        (
            Stage((96,), (False,), 1, TokenQKAttention),
            Stage((192, 192), (False, True), 1, TokenQKAttention),
            Stage((384, 384), (False, True), 2, SpikingSelfAttention),
        ),
        8,
    ),
    # For event frames of 128×128.
    "qkformer_2_256": partial(
        qkformer,
        {16: False, 32: True},
        (
            Stage((64, 128), (True, True), 1, TokenQKAttention, mlp_ratio=1),
            Stage((256, 256), (False, True), 1, SpikingSelfAttention, mlp_ratio=1),
        ),
        16,
    ),
    # For ImageNet.
    "qkformer_10_384": partial(hierarchy, 384, 6, (1, 2, 7)),
    "qkformer_10_512": partial(hierarchy, 512, 8, (1, 2, 7)),
    "qkformer_10_768": partial(hierarchy, 768, 12, (1, 2, 7)),
}
