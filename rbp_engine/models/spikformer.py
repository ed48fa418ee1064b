"""Spikformer (Zhou et al., ICLR 2023): spiking self-attention without softmax, for CIFAR, events and ImageNet.

Values keep the shape [B, C, H, W] between the layers, so that the weights of a token are a 1×1 convolution; attention
alone sees [B, heads, C / heads, tokens]. Batch norm follows every convolution, and no convolution has a bias.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from rbp_engine.models.initial import Neuron, initialised


def pointwise(in_channels: int, channels: int) -> nn.Sequential:
    """The weights of each token, and batch norm."""
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels))


def convolution(in_channels: int, channels: int, neuron: Neuron, *, pooled: bool = False) -> nn.Sequential:
    """conv 3×3, batch norm, a max pool 3×3 of stride 2 if `pooled`, neuron."""
    layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)]
    if pooled:
        layers.append(nn.MaxPool2d(3, 2, padding=1))
    return nn.Sequential(*layers, neuron())


class PatchSplitting(nn.Module):
    """Spiking patch splitting: four convolutions from C/8 to C channels, then a convolution that adds the position.

    The last of the four pool, as many as make of each `patch`² pixels a token.
    """

    def __init__(self, in_channels: int, width: int, patch: int, neuron: Neuron) -> None:
        super().__init__()
        pools = {2: 1, 4: 2, 8: 3, 16: 4}[patch]
        self.stages = nn.Sequential()
        channels = in_channels
        for stage, narrower in enumerate((8, 4, 2, 1)):
            self.stages.append(convolution(channels, width // narrower, neuron, pooled=stage >= 4 - pools))
            channels = width // narrower
        self.positional_encoding = convolution(width, width, neuron)

    def forward(self, x: Any) -> Any:
        x = self.stages(x)
        return x + self.positional_encoding(x)


class SpikingSelfAttention(nn.Module):
    """Queries, keys and values are spikes; LIF(q·kᵀ·v / 4) by heads, then 1×1 convolution, batch norm, neuron.

    Without a softmax (v·kᵀ)·q is the same, and cheaper where a head has fewer channels than there are tokens. The
    paper's factor is 1/8 with half the threshold of the other neurons; twice the input at their threshold gives the
    same spikes.
    """

    scale = 0.25

    def __init__(self, width: int, heads: int, neuron: Neuron) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_conv_bn = pointwise(width, 3 * width)
        self.qkv_lif = neuron()
        self.attn_lif = neuron()
        self.proj_conv_bn = pointwise(width, width)
        self.proj_lif = neuron()

    def forward(self, x: Any) -> Any:
        spikes = self.qkv_lif(self.qkv_conv_bn(x))
        q, k, v = spikes.reshape(len(x), 3, self.heads, -1, x.shape[2] * x.shape[3]).unbind(1)
        attended = (v @ k.transpose(-2, -1) * self.scale) @ q
        return self.proj_lif(self.proj_conv_bn(self.attn_lif(attended.reshape(x.shape))))


class TokenMLP(nn.Module):
    """Twice 1×1 convolution, batch norm and neuron; `ratio` times as wide in between."""

    def __init__(self, width: int, neuron: Neuron, ratio: int = 4) -> None:
        super().__init__()
        self.fc1 = pointwise(width, ratio * width)
        self.neuron1 = neuron()
        self.fc2 = pointwise(ratio * width, width)
        self.neuron2 = neuron()

    def forward(self, x: Any) -> Any:
        return self.neuron2(self.fc2(self.neuron1(self.fc1(x))))


class SpikformerBlock(nn.Module):
    """Attention and MLP, each added to its input, as SEW-ResNets add spikes to spikes."""

    def __init__(self, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.attn = attention
        self.mlp = mlp

    def forward(self, x: Any) -> Any:
        x = x + self.attn(x)
        return x + self.mlp(x)


class Spikformer(nn.Module):
    """Patch splitting, blocks, the mean over tokens, linear head."""

    def __init__(
        self, depth: int, width: int, heads: int, patch: int, num_classes: int, in_channels: int, neuron: Neuron
    ) -> None:
        super().__init__()
        self.patch_embed = PatchSplitting(in_channels, width, patch, neuron)
        self.blocks = nn.Sequential()
        for _ in range(depth):
            self.blocks.append(SpikformerBlock(SpikingSelfAttention(width, heads, neuron), TokenMLP(width, neuron)))
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.patch_embed(x)
        # Not `self.blocks(x)`: while a module runs, torch keeps a reference to its input.
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


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
    model = Spikformer(depth, width, heads, patch, num_classes, in_channels, neuron)
    return initialised(model, init, normal_deviation=0.02)


def from_spikingjelly(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a `spikingjelly.activation_based.model.spikformer.Spikformer` for the same size here.

    Its neurons, τ = 2 with `decay_input`, are `LIF(decay=0.5, threshold=2.0, reset="hard")`.
    """
    renamed = {name.replace(".conv_bn.block.", ".").replace(".neuron.", "."): value for name, value in state.items()}
    return {name: value.unsqueeze(-1) if value.ndim == 3 else value for name, value in renamed.items()}


# For CIFAR, and for 8×8 and 28×28 digits, of which 16 tokens are left.
spikformer_4_384 = partial(spikformer, 4, 384, 12, 4)
spikformer_digits = partial(spikformer, 2, 64, 4, 2)
spikformer_mnist = partial(spikformer, 2, 64, 4, 8)
# For event frames of 128×128.
spikformer_2_256 = partial(spikformer, 2, 256, 16, 16)
# For ImageNet.
spikformer_8_384 = partial(spikformer, 8, 384, 8, 16)
spikformer_8_512 = partial(spikformer, 8, 512, 8, 16)
spikformer_8_768 = partial(spikformer, 8, 768, 8, 16)
