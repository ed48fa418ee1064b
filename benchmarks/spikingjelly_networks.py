"""SpikingJelly's networks for `networks_from_elsewhere.py`: of every module of its models a small member of each kind.

Those whose forward repeats the image T times are made for T = 1, because a method here runs the timesteps.
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from elsewhere_networks import Network
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.model import (
    masnn,
    maxformer,
    ms_resnet,
    parametric_lif_net,
    qkformer,
    sew_resnet,
    snas_net,
    spike_dhs,
    spike_driven_transformer,
    spikformer,
    spiking_resnet,
    spiking_vgg,
    spiking_vggws_ottt,
)
from torch import nn

from rbp_engine.spiking import LIF


def _flat(make: Callable[..., nn.Module], **settings: Any) -> nn.Module:
    """It returns [T, B, C], here [1, B, C]."""
    return nn.Sequential(make(T=1, **settings), nn.Flatten(0, 1))


def _snas_net(cells: str) -> nn.Module:
    """Its neurons are fixed, and its cells have every operation: none, identity, 1×1, 3×3, pool."""
    settings = SimpleNamespace(
        threshold=1.0, tau=4 / 3, timestep=1, second_avgpooling=2, dataset="cifar10", celltype=cells
    )
    return snas_net.SNASNet(settings, np.array([[0, 1, 2, 3], [0, 0, 4, 0], [0, 0, 0, 3], [0, 0, 0, 0]]))


class _FirstOutput(nn.Module):
    """Without the auxiliary head, which it has in training."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Any:
        return self.network(x)[0]


def _spike_dhs() -> nn.Module:
    settings = SimpleNamespace(fea_step=3, fea_num_layers=8, fea_block_multiplier=3, fea_filter_multiplier=48)
    network = spike_dhs.SpikeDHS(args=settings)
    network._time_step = 1
    functional.set_step_mode(network, "m")
    made = _FirstOutput(network)
    # Weights of its architecture search have no part in the output.
    made(torch.rand(2, 3, 32, 32)).sum().backward()
    for parameter in made.parameters():
        parameter.requires_grad_(parameter.grad is not None)
    functional.reset_net(made)
    return made


def _network(
    family: str, name: str, make: Callable[[], nn.Module], image: tuple[int, int, int] = (3, 32, 32)
) -> Network:
    return Network("SpikingJelly", family, name, image, make)


SPIKINGJELLY = [
    *(
        _network("sew_resnet", f"sew_resnet18, {how}", partial(sew_resnet.sew_resnet18, spiking_neuron=LIF, cnf=how))
        for how in ("ADD", "AND", "IAND")
    ),
    _network("sew_resnet", "sew_resnet50", partial(sew_resnet.sew_resnet50, spiking_neuron=LIF, cnf="ADD")),
    _network(
        "sew_resnet", "sew_resnext50_32x4d", partial(sew_resnet.sew_resnext50_32x4d, spiking_neuron=LIF, cnf="ADD")
    ),
    *(
        _network("spiking_resnet", name, partial(getattr(spiking_resnet, name), spiking_neuron=LIF))
        for name in ("spiking_resnet18", "spiking_resnet50", "spiking_resnext50_32x4d")
    ),
    *(
        _network("spiking_vgg", name, partial(getattr(spiking_vgg, name), spiking_neuron=LIF))
        for name in ("spiking_vgg11", "spiking_vgg11_bn")
    ),
    *(
        _network("spiking_vggws_ottt", name, partial(getattr(spiking_vggws_ottt, name), spiking_neuron=LIF))
        for name in ("ottt_spiking_vggws", "ottt_spiking_vgg11", "ottt_spiking_vgg11_ws")
    ),
    *(
        _network("parametric_lif_net", name, partial(getattr(parametric_lif_net, name), 16, LIF), image)
        for name, image in (
            ("MNISTNet", (1, 28, 28)),
            ("FashionMNISTNet", (1, 28, 28)),
            ("NMNISTNet", (2, 34, 34)),
            ("CIFAR10Net", (3, 32, 32)),
            ("CIFAR10DVSNet", (2, 128, 128)),
            ("DVSGestureNet", (2, 128, 128)),
        )
    ),
    _network("ms_resnet", "ms_resnet18", partial(ms_resnet.ms_resnet18, T=1)),
    _network("ms_resnet", "max_resnet18", partial(ms_resnet.max_resnet18, T=1)),
    _network("masnn", "att_ms_resnet18", partial(masnn.att_ms_resnet18, T=1)),
    _network("masnn", "MASNN", partial(masnn.MASNN, T=1, reduction_t=1), (2, 32, 32)),
    _network("maxformer", "maxformer_cifar", partial(maxformer.maxformer_cifar, T=1)),
    _network("qkformer", "qkformer_10_384", partial(qkformer.qkformer_10_384, T=1)),
    _network("spike_driven_transformer", "sdt_8_384", partial(spike_driven_transformer.sdt_8_384, T=1)),
    _network("spikformer", "spikformer_cifar10", lambda: _flat(spikformer.spikformer_cifar10)),
    _network("snas_net", "SNASNet, forward cells", lambda: _snas_net("forward")),
    _network("spike_dhs", "SpikeDHS", lambda: _spike_dhs()),
]
