"""Max-Former (Fang et al., NeurIPS 2025): max pools and depthwise convolutions first, attention in the last stage."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from torch import nn

from rbp_engine.models.blocks import (
    Networks,
    Neuron,
    Residual,
    Transformer,
    conv_norm,
    currents_mlp,
    initialised,
    qkv_attention,
)


def cifar_stem(in_channels: int, channels: int, neuron: Neuron) -> Residual:
    """conv 3×3-BN to half the channels, then two branches of its spikes: conv 3×3-BN and conv 1×1-BN."""
    half = channels // 2
    return Residual(
        after="stem",
        stem=conv_norm(in_channels, half, 3),
        branch=nn.Sequential(neuron(), *conv_norm(half, channels, 3)),
        shortcut=nn.Sequential(neuron(), *conv_norm(half, channels)),
    )


def imagenet_stem(in_channels: int, channels: int, neuron: Neuron) -> Residual:
    """Two convolutions 3×3 of stride 2 and a third one, with a shortcut of the first one's spikes."""
    half = channels // 2
    return Residual(
        after="stem",
        stem=nn.Sequential(*conv_norm(in_channels, half, 3, 2, bias=True), neuron()),
        branch=nn.Sequential(
            *conv_norm(half, channels, 3, 2, bias=True), neuron(), *conv_norm(channels, channels, 3, bias=True)
        ),
        shortcut=conv_norm(half, channels, 1, 2, bias=True),
    )


def max_downsampling(in_channels: int, channels: int, neuron: Neuron, *, bias: bool) -> Residual:
    """Of spikes: conv 3×3-BN-maxpool-neuron-conv 3×3-BN, plus conv 1×1-BN-maxpool."""
    return Residual(
        after="neuron",
        neuron=neuron(),
        branch=nn.Sequential(
            *conv_norm(in_channels, channels, 3, bias=bias),
            nn.MaxPool2d(3, 2, padding=1),
            neuron(),
            *conv_norm(channels, channels, 3, bias=bias),
        ),
        shortcut=nn.Sequential(*conv_norm(in_channels, channels, bias=bias), nn.MaxPool2d(3, 2, padding=1)),
    )


def depthwise_mixer(kernel: int, width: int, neuron: Neuron) -> Residual:
    """x + neuron, depthwise convolution, batch norm."""
    depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
    return Residual(branch=nn.Sequential(neuron(), depthwise, nn.BatchNorm2d(width)))


class AttentionMixer(nn.Module):
    """x + spiking self-attention LIF(q·(kᵀ·v) / 4) of spikes, by heads, and conv 1×1-BN.

    `spikes_first`: a neuron at the input (CIFAR); else one at the output (ImageNet).
    """

    def __init__(self, heads: int, width: int, neuron: Neuron, *, spikes_first: bool) -> None:
        super().__init__()
        self.heads = heads
        self.first = neuron() if spikes_first else nn.Identity()
        self.qkv = nn.Sequential(*conv_norm(width, 3 * width), neuron())
        self.attended = neuron()
        self.project = conv_norm(width, width, bias=spikes_first)
        self.last = nn.Identity() if spikes_first else neuron()

    def forward(self, x: Any) -> Any:
        attended = qkv_attention(self.qkv(self.first(x)), self.heads)
        return self.last(self.project(self.attended(attended))) + x


def maxformer(
    depths: tuple[int, int, int],
    width: int,
    heads: int,
    *,
    cifar: bool = False,
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str = "kaiming",
) -> Transformer:
    """A stem and two down-samplings, each with its blocks of a token mixer and a channel mixer; mean, neuron, head.

    Arguments:
        depths: number of blocks in the three stages.
        width: of the last stage; the first has a quarter of it, the second half of it.
        cifar: the stem keeps the size of the image, the first stage mixes channels only, kernels are smaller.
        init: "paper" keeps torch's own initial weights.
    """
    downsampling = partial(max_downsampling, bias=not cifar)
    stem = cifar_stem if cifar else imagenet_stem
    embeddings: Sequence[Callable[[int, int, Neuron], nn.Module]] = (stem, downsampling, downsampling)
    token_mixers: Sequence[Callable[[int, Neuron], nn.Module] | None] = (
        None if cifar else partial(depthwise_mixer, 7),
        partial(depthwise_mixer, 3 if cifar else 5),
        partial(AttentionMixer, heads, spikes_first=cifar),
    )
    stages, before = nn.ModuleList(), in_channels
    for depth, channels, embedding, token_mixer in zip(
        depths, (width // 4, width // 2, width), embeddings, token_mixers, strict=True
    ):
        stage = nn.ModuleList([embedding(before, channels, neuron)])
        for _ in range(depth):
            mixers = [token_mixer(channels, neuron)] if token_mixer else []
            stage.append(nn.Sequential(*mixers, Residual(**currents_mlp(channels, neuron))))
        stages.append(stage)
        before = channels
    return initialised(Transformer(stages=stages, neuron=neuron(), head=nn.Linear(width, num_classes)), init)


NETWORKS: Final[Networks] = {
    # For CIFAR.
    "maxformer_4_384": partial(maxformer, (1, 1, 2), 384, 8, cifar=True),
    # For ImageNet.
    "maxformer_10_384": partial(maxformer, (1, 2, 7), 384, 6),
    "maxformer_10_768": partial(maxformer, (1, 2, 7), 768, 12),
}
