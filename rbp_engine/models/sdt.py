"""Spike-driven Transformer (Yao et al., NeurIPS 2023): attention by masks and sums, shortcuts between currents."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from rbp_engine.models.initial import Neuron, initialised


class SpikingPatchSplitting(nn.Module):
    """Four times conv 3×3 and batch norm, from C/8 to C channels, then a convolution of their spikes for the position.

    `pools` says after which of the four a max pool halves the image. Spikes are pooled, and the last one's current.
    """

    def __init__(self, in_channels: int, width: int, pools: tuple[bool, bool, bool, bool], neuron: Neuron) -> None:
        super().__init__()
        self.stages = nn.Sequential()
        channels = in_channels
        for stage, (narrower, pooled) in enumerate(zip((8, 4, 2, 1), pools, strict=True)):
            layers: list[nn.Module] = [
                nn.Conv2d(channels, width // narrower, 3, padding=1),
                nn.BatchNorm2d(width // narrower),
            ]
            layers += [neuron()] if stage < 3 else []
            layers += [nn.MaxPool2d(3, 2, padding=1)] if pooled else []
            self.stages.append(nn.Sequential(*layers))
            channels = width // narrower
        self.neuron = neuron()
        self.position = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Any) -> Any:
        for stage in self.stages:
            x = stage(x)
        return self.position(self.neuron(x)) + x


class SpikeDrivenAttention(nn.Module):
    """Queries that are masked by neurons, one for each channel: LIF(Σ k ⊙ v over the tokens) ⊙ q.

    Heads make no difference to it. The paper halves the threshold of these neurons; twice the input at the others'
    threshold gives the same spikes.
    """

    def __init__(self, width: int, neuron: Neuron) -> None:
        super().__init__()
        self.neuron = neuron()
        self.q, self.k, self.v = (spiking_pointwise(width, neuron) for _ in range(3))
        self.mask_neuron = neuron()
        self.project = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))

    def forward(self, x: Any) -> Any:
        spikes = self.neuron(x)
        q, k, v = self.q(spikes), self.k(spikes), self.v(spikes)
        mask = self.mask_neuron((k * v).sum((2, 3), keepdim=True) * 2)
        return self.project(q * mask) + x


def spiking_pointwise(width: int, neuron: Neuron) -> nn.Sequential:
    """conv 1×1, batch norm, neuron."""
    return nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), neuron())


class MembraneMLP(nn.Module):
    """Twice neuron, conv 1×1 and batch norm, + its input; four times as wide in between."""

    def __init__(self, width: int, neuron: Neuron) -> None:
        super().__init__()
        self.neuron1 = neuron()
        self.fc1 = nn.Sequential(nn.Conv2d(width, 4 * width, 1), nn.BatchNorm2d(4 * width))
        self.neuron2 = neuron()
        self.fc2 = nn.Sequential(nn.Conv2d(4 * width, width, 1), nn.BatchNorm2d(width))

    def forward(self, x: Any) -> Any:
        return self.fc2(self.neuron2(self.fc1(self.neuron1(x)))) + x


class SpikeDrivenBlock(nn.Module):
    """Attention, then MLP; the shortcuts are theirs."""

    def __init__(self, width: int, neuron: Neuron) -> None:
        super().__init__()
        self.attn = SpikeDrivenAttention(width, neuron)
        self.mlp = MembraneMLP(width, neuron)

    def forward(self, x: Any) -> Any:
        return self.mlp(self.attn(x))


class SpikeDrivenTransformer(nn.Module):
    """Patch splitting, blocks of attention and MLP, the mean over tokens, neuron, linear head."""

    def __init__(
        self,
        depth: int,
        width: int,
        pools: tuple[bool, bool, bool, bool],
        num_classes: int,
        in_channels: int,
        neuron: Neuron,
    ) -> None:
        super().__init__()
        self.patch_embed = SpikingPatchSplitting(in_channels, width, pools, neuron)
        self.blocks = nn.Sequential(*(SpikeDrivenBlock(width, neuron) for _ in range(depth)))
        self.neuron = neuron()
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.patch_embed(x)
        # Not `self.blocks(x)`: while a module runs, torch keeps a reference to its input.
        for block in self.blocks:
            x = block(x)
        return self.head(self.neuron(x.mean((2, 3))))


def sdt(
    depth: int,
    width: int,
    pools: tuple[bool, bool, bool, bool] = (True, True, True, True),
    *,
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str = "kaiming",
) -> SpikeDrivenTransformer:
    """Spike-driven Transformer-`depth`-`width`; "paper" draws weights from N(0, 0.02²)."""
    model = SpikeDrivenTransformer(depth, width, pools, num_classes, in_channels, neuron)
    return initialised(model, init, normal_deviation=0.02)


def from_spikingjelly(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a `SpikeDrivenTransformer` of `spikingjelly.activation_based.model`, for the same size here.

    Its neurons, τ = 2 with `decay_input`, are `LIF(decay=0.5, threshold=2.0, reset="hard")`.
    """
    return {_renamed(name): value for name, value in state.items()}


def _renamed(name: str) -> str:
    for theirs, ours in _NAMES.items():
        name = name.replace(theirs, ours)
    return name


_NAMES = {
    "patch_embed.final_stage.": "patch_embed.stages.3.",
    ".rpe_conv.": ".position.0.",
    ".rpe_bn.": ".position.1.",
    ".q_conv.": ".q.0.",
    ".q_bn.": ".q.1.",
    ".k_conv.": ".k.0.",
    ".k_bn.": ".k.1.",
    ".v_conv.": ".v.0.",
    ".v_bn.": ".v.1.",
    ".proj_conv.": ".project.0.",
    ".proj_bn.": ".project.1.",
    ".fc1.": ".fc1.0.",
    ".bn1.": ".fc1.1.",
    ".fc2.": ".fc2.0.",
    ".bn2.": ".fc2.1.",
}

# For CIFAR, tokens of 4×4 pixels.
sdt_2_512 = partial(sdt, 2, 512, (False, False, True, True))
# For ImageNet.
sdt_8_384 = partial(sdt, 8, 384)
sdt_8_512 = partial(sdt, 8, 512)
sdt_8_768 = partial(sdt, 8, 768)
