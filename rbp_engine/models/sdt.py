"""Spike-driven Transformer (Yao et al., NeurIPS 2023): attention by masks and sums, shortcuts between currents."""

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
    currents_mlp,
    initialised,
)


def patch_splitting(in_channels: int, width: int, pools: tuple[bool, bool, bool, bool], neuron: Neuron) -> Residual:
    """Four times conv 3×3 and batch norm, from C/8 to C channels, then a convolution of their spikes for the position.

    `pools` says after which of the four a max pool halves the image. Pools act on spikes, except the last, which acts
    on the current.
    """
    stages = nn.Sequential()
    for channels, pooled in zip((width // 8, width // 4, width // 2, width), pools, strict=True):
        stage = conv_norm(in_channels, channels, 3, bias=True)
        stage.extend([neuron()] if channels < width else [])
        stage.extend([nn.MaxPool2d(3, 2, padding=1)] if pooled else [])
        stages.append(stage)
        in_channels = channels
    return Residual(after="stages", stages=stages, neuron=neuron(), position=conv_norm(width, width, 3))


class SpikeDrivenAttention(nn.Module):
    """Queries that are masked by neurons, one for each channel: LIF(Σ k ⊙ v over the tokens) ⊙ q.

    Heads make no difference to it. The paper halves the threshold of these neurons; twice the input at the others'
    threshold gives the same spikes.
    """

    def __init__(self, width: int, neuron: Neuron) -> None:
        super().__init__()
        self.neuron = neuron()
        self.q, self.k, self.v = (nn.Sequential(*conv_norm(width, width), neuron()) for _ in range(3))
        self.mask_neuron = neuron()
        self.project = conv_norm(width, width, bias=True)

    def forward(self, x: Any) -> Any:
        spikes = self.neuron(x)
        q, k, v = self.q(spikes), self.k(spikes), self.v(spikes)
        mask = self.mask_neuron((k * v).sum((2, 3), keepdim=True) * 2)
        return self.project(q * mask)


def sdt(
    depth: int,
    width: int,
    pools: tuple[bool, bool, bool, bool] = (True, True, True, True),
    *,
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str = "kaiming",
) -> Transformer:
    """Spike-driven Transformer-`depth`-`width`: patch splitting, blocks, the mean over tokens, neuron, linear head.

    With `init` "paper" weights are drawn from N(0, 0.02²).
    """
    model = Transformer(
        patch_embed=patch_splitting(in_channels, width, pools, neuron),
        blocks=nn.ModuleList(
            TransformerBlock(attn=SpikeDrivenAttention(width, neuron), mlp=currents_mlp(width, neuron))
            for _ in range(depth)
        ),
        neuron=neuron(),
        head=nn.Linear(width, num_classes),
    )
    return initialised(model, init, normal_deviation=0.02)


NETWORKS: Final[Networks] = {
    # For CIFAR, tokens of 4×4 pixels.
    "sdt_2_512": partial(sdt, 2, 512, (False, False, True, True)),
    # For ImageNet.
    "sdt_8_384": partial(sdt, 8, 384),
    "sdt_8_512": partial(sdt, 8, 512),
    "sdt_8_768": partial(sdt, 8, 768),
}
