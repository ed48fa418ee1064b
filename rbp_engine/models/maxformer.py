"""Max-Former (Fang et al., NeurIPS 2025): max pools and depthwise convolutions first, attention in the last stage."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from torch import Tensor, nn

from rbp_engine.models.blocks import (
    Networks,
    Neuron,
    Renaming,
    Residual,
    Transformer,
    conv_norm,
    initialised,
    qkv_attention,
    renamed,
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


def channel_mixer(width: int, neuron: Neuron) -> Residual:
    """x + twice neuron, conv 1×1, batch norm; four times as wide in between."""
    wide = 4 * width
    return Residual(
        branch=nn.Sequential(neuron(), *conv_norm(width, wide, bias=True), neuron(), *conv_norm(wide, width, bias=True))
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
            stage.append(nn.Sequential(*mixers, channel_mixer(channels, neuron)))
        stages.append(stage)
        before = channels
    return initialised(Transformer(stages=stages, neuron=neuron(), head=nn.Linear(width, num_classes)), init)


def from_spikingjelly(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a `MaxFormer` of `spikingjelly.activation_based.model`, for the same size here.

    Its neurons, τ = 2 with `decay_input`, are `LIF(decay=0.5, threshold=2.0, reset="hard")`.
    """
    return renamed(state, _NAMES)


_NAMES: Final[Renaming] = (
    (r"^patch_embed1\.(conv|conv1)\.", "stage1.-1.stem.0."),
    (r"^patch_embed1\.(bn|bn1)\.", "stage1.-1.stem.1."),
    (r"^patch_embed1\.conv3\.", "stage1.-1.branch.3."),
    (r"^patch_embed1\.bn3\.", "stage1.-1.branch.4."),
    (r"^patch_embed1\.conv2\.", "stage1.-1.branch.0."),
    (r"^patch_embed1\.bn2\.", "stage1.-1.branch.1."),
    (r"^patch_embed(\d)\.conv1\.", r"stage\1.-1.branch.0."),
    (r"^patch_embed(\d)\.bn1\.", r"stage\1.-1.branch.1."),
    (r"^patch_embed(\d)\.conv2\.", r"stage\1.-1.branch.4."),
    (r"^patch_embed(\d)\.bn2\.", r"stage\1.-1.branch.5."),
    (r"^patch_embed(\d)\.", r"stage\1.-1."),
    (r"\.mlp\.", ".1."),
    (r"^(stage\d\.\d+)\.(fc|bn)(\d)\.", r"\1.0.\2\3."),
    (r"\.fc1\.", ".branch.1."),
    (r"\.(0|1)\.bn1\.", r".\1.branch.2."),
    (r"\.fc2\.", ".branch.4."),
    (r"\.(0|1)\.bn2\.", r".\1.branch.5."),
    (r"\.dwconv\.", ".0.branch.1."),
    (r"^(stage\d\.\d+)\.bn\.", r"\1.0.branch.2."),
    (r"\.attn\.qkv(_conv_bn)?\.", ".0.qkv."),
    (r"\.attn\.proj(_conv_bn)?\.", ".0.project."),
    (r"^stage(\d)\.(-?\d+)", lambda found: f"stages.{int(found[1]) - 1}.{int(found[2]) + 1}"),
)

NETWORKS: Final[Networks] = {
    # For CIFAR.
    "maxformer_4_384": partial(maxformer, (1, 1, 2), 384, 8, cifar=True),
    # For ImageNet.
    "maxformer_10_384": partial(maxformer, (1, 2, 7), 384, 6),
    "maxformer_10_768": partial(maxformer, (1, 2, 7), 768, 12),
}
