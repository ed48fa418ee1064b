"""Spikformer (Zhou et al., ICLR 2023): spiking self-attention without softmax, for CIFAR, events and ImageNet.

Batch norm follows every convolution, and no convolution has a bias.
"""

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
    qkv_attention,
    spikes_mlp,
    spiking_convolutions,
)


class SpikingSelfAttention(nn.Module):
    """Queries, keys and values are spikes; LIF(q·kᵀ·v / 4) by heads, then 1×1 convolution, batch norm, neuron."""

    def __init__(self, width: int, heads: int, neuron: Neuron) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_conv_bn = conv_norm(width, 3 * width)
        self.qkv_lif = neuron()
        self.attn_lif = neuron()
        self.proj_conv_bn = conv_norm(width, width)
        self.proj_lif = neuron()

    def forward(self, x: Any) -> Any:
        spikes = self.qkv_lif(self.qkv_conv_bn(x))
        return self.proj_lif(self.proj_conv_bn(self.attn_lif(qkv_attention(spikes, self.heads))))


def patch_splitting(in_channels: int, width: int, patch: int, neuron: Neuron) -> Residual:
    """Spiking patch splitting: four convolutions from C/8 to C channels, then a convolution that adds the position.

    The last of the four pool, as many as it takes to make a token of each `patch`² pixels.
    """
    widths = [width // 8, width // 4, width // 2, width]
    pooled = [patch >= pixels for pixels in (16, 8, 4, 2)]
    return Residual(
        after="stages",
        stages=spiking_convolutions(in_channels, widths, pooled, neuron),
        positional_encoding=nn.Sequential(*conv_norm(width, width, 3), neuron()),
    )


class Spikformer(Transformer):
    """Patch splitting, blocks, the mean over tokens, linear head."""

    blocks: nn.ModuleList
    head: nn.Linear


def spikformer(
    depth: int,
    width: int,
    heads: int,
    patch: int,
    *,
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str = "kaiming",
) -> Spikformer:
    """Spikformer-`depth`-`width` with one token for each `patch`² pixels; "paper" draws weights from N(0, 0.02²)."""
    model = Spikformer(
        patch_embed=patch_splitting(in_channels, width, patch, neuron),
        blocks=nn.ModuleList(
            TransformerBlock(attn=SpikingSelfAttention(width, heads, neuron), mlp=spikes_mlp(width, neuron))
            for _ in range(depth)
        ),
        head=nn.Linear(width, num_classes),
    )
    return initialised(model, init, normal_deviation=0.02)


NETWORKS: Final[Networks] = {
    # For 8×8 and 28×28 digits, of which 16 tokens are left, and for CIFAR.
    "spikformer_digits": partial(spikformer, 2, 64, 4, 2),
    "spikformer_mnist": partial(spikformer, 2, 64, 4, 8),
    "spikformer_4_384": partial(spikformer, 4, 384, 12, 4),
    # For event frames of 128×128.
    "spikformer_2_256": partial(spikformer, 2, 256, 16, 16),
    # For ImageNet.
    "spikformer_8_384": partial(spikformer, 8, 384, 8, 16),
    "spikformer_8_512": partial(spikformer, 8, 512, 8, 16),
    "spikformer_8_768": partial(spikformer, 8, 768, 8, 16),
}
