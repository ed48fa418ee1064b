"""Max-Former (Fang et al., NeurIPS 2025): max pools and depthwise convolutions first, attention in the last stage."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from rbp_engine.models.initial import Neuron, initialised


def convolution(in_channels: int, channels: int, kernel: int, stride: int = 1, *, bias: bool = True) -> nn.Sequential:
    """Convolution, batch norm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=bias), nn.BatchNorm2d(channels)
    )


class CifarStem(nn.Module):
    """conv 3×3-BN to half the channels, then two branches of its spikes: conv 3×3-BN and conv 1×1-BN."""

    def __init__(self, in_channels: int, channels: int, neuron: Neuron) -> None:
        super().__init__()
        self.stem = convolution(in_channels, channels // 2, 3, bias=False)
        self.branch = nn.Sequential(neuron(), *convolution(channels // 2, channels, 3, bias=False))
        self.shortcut = nn.Sequential(neuron(), *convolution(channels // 2, channels, 1, bias=False))

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        return self.branch(x) + self.shortcut(x)


class ImageNetStem(nn.Module):
    """Two convolutions 3×3 of stride 2 and a third one, with a shortcut of the first one's spikes."""

    def __init__(self, in_channels: int, channels: int, neuron: Neuron) -> None:
        super().__init__()
        self.stem = nn.Sequential(*convolution(in_channels, channels // 2, 3, 2), neuron())
        self.branch = nn.Sequential(
            *convolution(channels // 2, channels, 3, 2), neuron(), *convolution(channels, channels, 3)
        )
        self.shortcut = convolution(channels // 2, channels, 1, 2)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        return self.branch(x) + self.shortcut(x)


class MaxDownsampling(nn.Module):
    """Of spikes: conv 3×3-BN-maxpool-neuron-conv 3×3-BN, plus conv 1×1-BN-maxpool."""

    def __init__(self, in_channels: int, channels: int, neuron: Neuron, *, bias: bool) -> None:
        super().__init__()
        self.neuron = neuron()
        self.branch = nn.Sequential(
            *convolution(in_channels, channels, 3, bias=bias),
            nn.MaxPool2d(3, 2, padding=1),
            neuron(),
            *convolution(channels, channels, 3, bias=bias),
        )
        self.shortcut = nn.Sequential(*convolution(in_channels, channels, 1, bias=bias), nn.MaxPool2d(3, 2, padding=1))

    def forward(self, x: Any) -> Any:
        spikes = self.neuron(x)
        return self.branch(spikes) + self.shortcut(spikes)


class ChannelMixer(nn.Module):
    """x + twice neuron, conv 1×1, batch norm; four times as wide in between."""

    def __init__(self, width: int, neuron: Neuron) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            neuron(), *convolution(width, 4 * width, 1), neuron(), *convolution(4 * width, width, 1)
        )

    def forward(self, x: Any) -> Any:
        return self.branch(x) + x


class DepthwiseMixer(nn.Module):
    """x + neuron, depthwise convolution, batch norm."""

    def __init__(self, width: int, kernel: int, neuron: Neuron) -> None:
        super().__init__()
        depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.branch = nn.Sequential(neuron(), depthwise, nn.BatchNorm2d(width))

    def forward(self, x: Any) -> Any:
        return self.branch(x) + x


class AttentionMixer(nn.Module):
    """x + spiking self-attention LIF(q·(kᵀ·v) / 4) of spikes, by heads, and conv 1×1-BN.

    `spikes_first`: a neuron at the input (CIFAR); else one at the output (ImageNet). The paper's factor is 1/8 with
    half the threshold of the other neurons; twice the input at their threshold gives the same spikes.
    """

    def __init__(self, width: int, heads: int, neuron: Neuron, *, spikes_first: bool) -> None:
        super().__init__()
        self.heads = heads
        self.first = neuron() if spikes_first else nn.Identity()
        self.qkv = nn.Sequential(*convolution(width, 3 * width, 1, bias=False), neuron())
        self.attended = neuron()
        self.project = convolution(width, width, 1, bias=spikes_first)
        self.last = nn.Identity() if spikes_first else neuron()

    def forward(self, x: Any) -> Any:
        spikes = self.qkv(self.first(x))
        q, k, v = spikes.reshape(len(x), 3, self.heads, -1, x.shape[2] * x.shape[3]).unbind(1)
        attended = (v @ k.transpose(-2, -1) * 0.25) @ q
        return self.last(self.project(self.attended(attended.reshape(x.shape)))) + x


class MaxFormer(nn.Module):
    """A stem and two down-samplings, each with its blocks of a token mixer and a channel mixer; mean, neuron, head.

    Arguments:
        depths: number of blocks in the three stages.
        width: of the last stage; the first has a quarter of it, the second half of it.
        cifar: the stem keeps the size of the image, the first stage mixes channels only, kernels are smaller.
    """

    def __init__(
        self,
        depths: tuple[int, int, int],
        width: int,
        heads: int,
        num_classes: int,
        in_channels: int,
        neuron: Neuron,
        *,
        cifar: bool,
    ) -> None:
        super().__init__()
        widths = (width // 4, width // 2, width)
        stem = CifarStem if cifar else ImageNetStem
        mixers: list[Callable[[], list[nn.Module]]] = [
            lambda: [] if cifar else [DepthwiseMixer(widths[0], 7, neuron)],
            lambda: [DepthwiseMixer(widths[1], 3 if cifar else 5, neuron)],
            lambda: [AttentionMixer(width, heads, neuron, spikes_first=cifar)],
        ]
        self.stages = nn.Sequential()
        for stage, (depth, channels, mixer) in enumerate(zip(depths, widths, mixers, strict=True)):
            first = (
                stem(in_channels, channels, neuron)
                if stage == 0
                else MaxDownsampling(widths[stage - 1], channels, neuron, bias=not cifar)
            )
            blocks = (nn.Sequential(*mixer(), ChannelMixer(channels, neuron)) for _ in range(depth))
            self.stages.append(nn.Sequential(first, *blocks))
        self.neuron = neuron()
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Any) -> Any:
        # Not `self.stages(x)`: while a module runs, torch keeps a reference to its input.
        for stage in self.stages:
            for layer in stage.children():
                x = layer(x)
        return self.head(self.neuron(x.mean((2, 3))))


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
) -> MaxFormer:
    """Max-Former; "paper" keeps torch's own initial weights."""
    return initialised(MaxFormer(depths, width, heads, num_classes, in_channels, neuron, cifar=cifar), init)


def from_spikingjelly(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a `MaxFormer` of `spikingjelly.activation_based.model`, for the same size here.

    Its neurons, τ = 2 with `decay_input`, are `LIF(decay=0.5, threshold=2.0, reset="hard")`.
    """
    return {
        _renamed(name): value.unsqueeze(-1) if value.ndim == 3 else value  # convolutions of tokens in a row
        for name, value in state.items()
    }


def _renamed(name: str) -> str:
    for theirs, ours in _NAMES:
        name = re.sub(theirs, ours, name)
    return re.sub(r"^stage(\d)\.(-?\d+)", lambda found: f"stages.{int(found[1]) - 1}.{int(found[2]) + 1}", name)


_NAMES = (
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
)

# For CIFAR.
maxformer_4_384 = partial(maxformer, (1, 1, 2), 384, 8, cifar=True)
# For ImageNet.
maxformer_10_384 = partial(maxformer, (1, 2, 7), 384, 6)
maxformer_10_768 = partial(maxformer, (1, 2, 7), 768, 12)
