"""QKFormer (Zhou et al., NeurIPS 2024): a hierarchy of stages, whose early ones attend without values.

What it shares with Spikformer is in `spikformer.py`, the shape [B, C, H, W] of all values too. As there, no convolution
has a bias, since batch norm follows each; the published code has some, under 0.1 % of its parameters.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from rbp_engine.models.initial import Neuron, initialised
from rbp_engine.models.spikformer import SpikformerBlock, SpikingSelfAttention, TokenMLP, convolution, pointwise


class TokenQKAttention(nn.Module):
    """Each head lets the keys of a token through if the sum of its queries makes a neuron fire.

    The paper's neuron has half the threshold of the others; twice the input at their threshold gives the same spikes.
    """

    def __init__(self, width: int, heads: int, neuron: Neuron) -> None:
        super().__init__()
        self.heads = heads
        self.qk_conv_bn = pointwise(width, 2 * width)
        self.qk_lif = neuron()
        self.attn_lif = neuron()
        self.proj_conv_bn = pointwise(width, width)
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
    attention: type[SpikingSelfAttention] | type[TokenQKAttention]
    mlp_ratio: int = 4


class PatchEmbedding(nn.Module):
    """Convolutions with neurons, and the input by a 1×1 convolution of the same stride (the deformed shortcut)."""

    def __init__(self, in_channels: int, widths: Sequence[int], pooled: Sequence[bool], neuron: Neuron) -> None:
        super().__init__()
        self.layers = convolutions(in_channels, widths, pooled, neuron)
        width, stride = widths[-1], 2 ** sum(pooled)
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, width, 1, stride, bias=False), nn.BatchNorm2d(width), neuron()
        )

    def forward(self, x: Any) -> Any:
        return self.layers(x) + self.shortcut(x)


class QKFormer(nn.Module):
    """A stem of convolutions, stages, the mean over tokens, linear head."""

    def __init__(
        self, stem: nn.Module, stages: Sequence[Stage], heads: int, channels: int, num_classes: int, neuron: Neuron
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList()
        for stage in stages:
            width = stage.widths[-1]
            parts: list[nn.Module] = [PatchEmbedding(channels, stage.widths, stage.pooled, neuron)]
            for _ in range(stage.depth):
                mlp = TokenMLP(width, neuron, stage.mlp_ratio)
                parts.append(SpikformerBlock(stage.attention(width, heads, neuron), mlp))
            self.stages.append(nn.ModuleList(parts))
            channels = width
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        for part in itertools.chain(*self.stages):
            x = part(x)
        return self.head(x.mean((2, 3)))


def convolutions(in_channels: int, widths: Sequence[int], pooled: Sequence[bool], neuron: Neuron) -> nn.Sequential:
    """`convolution` of these widths one after another."""
    inputs = (in_channels, *widths)
    return nn.Sequential(
        *(
            convolution(before, width, neuron, pooled=pools)
            for before, width, pools in zip(inputs, widths, pooled, strict=False)
        )
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
) -> QKFormer:
    """The network of these stages; `stem` gives the widths of its first convolutions, and which of them pool.

    With `init` "paper" weights are drawn from N(0, 0.02²).
    """
    first = convolutions(in_channels, tuple(stem), tuple(stem.values()), neuron)
    model = QKFormer(first, stages, heads, [*stem][-1], num_classes, neuron)
    return initialised(model, init, normal_deviation=0.02)


def hierarchy(width: int, heads: int, depths: tuple[int, int, int], **settings: Any) -> QKFormer:
    """HST-`sum(depths)`-`width` for ImageNet: pools in the stem and in each stage's first convolution."""
    pooled = (True, False)
    stages = (
        Stage((width // 4,) * 2, pooled, depths[0], TokenQKAttention),
        Stage((width // 2,) * 2, pooled, depths[1], TokenQKAttention),
        Stage((width,) * 2, pooled, depths[2], SpikingSelfAttention),
    )
    return qkformer({width // 8: True}, stages, heads, **settings)


# Where weights, and the batch norm behind them, stand in a `nn.Sequential` here.
PLACE = {"conv": 0, "fc": 0, "bn": 1}


def from_spikingjelly(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a `spikingjelly.activation_based.model.qkformer.QKFormer` for the same size here.

    Its biases before a batch norm become part of the running mean. Its neurons, τ = 2 with `decay_input`, are
    `LIF(decay=0.5, threshold=2.0, reset="hard")`.
    """
    named = {_name(name): value.unsqueeze(-1) if value.ndim == 3 else value for name, value in state.items()}
    for name in [name for name in named if name.endswith(".0.bias")]:
        mean = name.replace(".0.bias", ".1.running_mean")
        named[mean] = named[mean] - named.pop(name)
    return named


def _name(theirs: str) -> str:
    """The name here of one of their parameters: `patch_embed2.bn1.weight` is `stages.1.0.layers.0.1.weight`."""
    name = re.sub(r"mlp\.(fc|bn)(\d)", lambda m: f"mlp.fc{m[2]}.{PLACE[m[1]]}", theirs)
    # Their first patch embedding begins with our stem.
    if found := re.match(r"patch_embed1\.(conv|bn)1\.", name):
        return f"stem.0.{PLACE[found[1]]}.{name[found.end() :]}"
    if found := re.match(r"patch_embed(\d)\.(conv|bn)(\d)\.", name):
        stage, layer = int(found[1]) - 1, int(found[3]) - (2 if found[1] == "1" else 1)
        return f"stages.{stage}.0.layers.{layer}.{PLACE[found[2]]}.{name[found.end() :]}"
    name = re.sub(r"patch_embed(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.0.", name)
    return re.sub(r"^stage(\d)\.(\d+)\.", lambda m: f"stages.{int(m[1]) - 1}.{int(m[2]) + 1}.", name)


# For CIFAR, and for 8×8 digits.
qkformer_4_384 = partial(
    qkformer,
    {48: False},
    (
        Stage((96,), (False,), 1, TokenQKAttention),
        Stage((192, 192), (False, True), 1, TokenQKAttention),
        Stage((384, 384), (False, True), 2, SpikingSelfAttention),
    ),
    8,
)
qkformer_digits = partial(
    qkformer,
    {16: False},
    (
        Stage((32,), (False,), 1, TokenQKAttention),
        Stage((64, 64), (False, True), 1, SpikingSelfAttention),
    ),
    4,
)
# For event frames of 128×128.
qkformer_2_256 = partial(
    qkformer,
    {16: False, 32: True},
    (
        Stage((64, 128), (True, True), 1, TokenQKAttention, mlp_ratio=1),
        Stage((256, 256), (False, True), 1, SpikingSelfAttention, mlp_ratio=1),
    ),
    16,
)
# For ImageNet.
qkformer_10_384 = partial(hierarchy, 384, 6, (1, 2, 7))
qkformer_10_512 = partial(hierarchy, 512, 8, (1, 2, 7))
qkformer_10_768 = partial(hierarchy, 768, 12, (1, 2, 7))
