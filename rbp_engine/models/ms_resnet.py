"""MS-ResNets: the shortcut carries currents, not spikes, and every convolution of a block gets spikes.

Hu et al., Advancing Spiking Neural Networks Toward Deep Residual Learning, TNNLS 2024. Max-ResNet halves the image by
max pools in the blocks: Fang et al., Spiking Neural Networks Need High-Frequency Information, NeurIPS 2025.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from torch import nn

from rbp_engine.models.blocks import (
    NamedSequential,
    Networks,
    Neuron,
    PreActBlock,
    conv_norm,
    initialised,
    residual_stages,
)

WIDTHS = (64, 128, 256, 512)


def ms_resnet(
    blocks: Sequence[int],
    widths: Sequence[int] = WIDTHS,
    stem: tuple[int, int] = (7, 2),
    stride: int = 2,
    *,
    max_pool: bool = False,
    average_pool: bool = False,
    num_classes: int,
    in_channels: int,
    neuron: Neuron,
    init: str = "kaiming",
) -> NamedSequential:
    """A stem of convolution and batch norm, stages of blocks, neuron, global average pool, linear head.

    Arguments:
        blocks, widths: of each stage.
        stem: kernel and stride of the stem's convolution.
        stride: of the first stage; that of the others is 2.
        max_pool: blocks halve the image by a max pool and not by the stride of their first convolution.
        average_pool: shortcuts halve it by an average pool and not by the stride of their convolution.
        init: "paper" starts batch norms at 1/2, and the last of a block at 0, which makes it its shortcut.
    """
    channels = min(widths[0], WIDTHS[0])
    block = partial(PreActBlock, neuron=neuron, max_pool=max_pool, average_pool=average_pool)
    model = NamedSequential(
        stem=conv_norm(in_channels, channels, *stem),
        stages=nn.ModuleList(map(nn.ModuleList, residual_stages(block, blocks, widths, channels, stride))),
        neuron=neuron(),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        head=nn.Linear(widths[-1], num_classes),
    )
    if init != "paper":
        return initialised(model, init)
    for name, norm in model.named_modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.constant_(norm.weight, 0.0 if name.endswith("bn2") else 0.5)
    return initialised(model, "kaiming")


_CIFAR = partial(ms_resnet, (3, 3, 2), (128, 256, 512), (3, 1), 1)
NETWORKS: Final[Networks] = {
    # For CIFAR, with the blocks and widths of ResNet-19.
    "ms_resnet18_cifar": _CIFAR,
    "max_resnet18_cifar": partial(_CIFAR, max_pool=True),
    # For ImageNet.
    "ms_resnet18": partial(ms_resnet, (2, 2, 2, 2)),
    "ms_resnet34": partial(ms_resnet, (3, 4, 6, 3)),
    "ms_resnet104": partial(ms_resnet, (3, 8, 32, 8), average_pool=True),
}
