"""Which of SpikingJelly's networks train here, unmodified, with LIF in the place of their neurons.

    python benchmarks/spikingjelly_networks.py [--family sew_resnet,ms_resnet] [--methods rate_m,bptt | all]

All networks of `spikingjelly.activation_based.model`: every public function that builds one, and the classes that no
function builds. Those whose forward repeats the image T times are made for T = 1, because a method here runs the
timesteps. Each network makes one training step and one evaluation by each method, on random images. It works if
logits, loss and the gradient of every parameter are finite.
"""

import argparse
import gc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
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

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF, make_spiking

TIMESTEPS, BATCH = 2, 2
RESNETS = ("18", "34", "50", "101", "152")
WIDER = ("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2")


@dataclass(frozen=True)
class SpikingJellyNetwork:
    """A network of SpikingJelly; `image` is the shape [C, H, W] that it takes."""

    family: str
    name: str
    image: tuple[int, int, int]
    make: Callable[[], nn.Module]


def spikingjelly_networks() -> Iterator[SpikingJellyNetwork]:
    """All of them, with LIF in the place of their neurons once they are made."""
    for family, name, image, make in _all():
        yield SpikingJellyNetwork(family, name, image, partial(_converted, make))


def _converted(make: Callable[[], nn.Module]) -> nn.Module:
    return make_spiking(make())[0]


def _all() -> Iterator[tuple[str, str, tuple[int, int, int], Callable[[], nn.Module]]]:
    small = (3, 32, 32)
    for name in [*(f"sew_resnet{depth}" for depth in RESNETS), *(f"sew_{name}" for name in WIDER)]:
        for connection in ("ADD", "AND", "IAND") if name == "sew_resnet18" else ("ADD",):
            make = partial(getattr(sew_resnet, name), spiking_neuron=LIF, cnf=connection)
            yield "sew_resnet", f"{name}, {connection}", small, make
    for name in [*(f"spiking_resnet{depth}" for depth in RESNETS), *(f"spiking_{name}" for name in WIDER)]:
        yield "spiking_resnet", name, small, partial(getattr(spiking_resnet, name), spiking_neuron=LIF)
    for depth in (11, 13, 16, 19):
        for name in (f"spiking_vgg{depth}", f"spiking_vgg{depth}_bn"):
            yield "spiking_vgg", name, small, partial(getattr(spiking_vgg, name), spiking_neuron=LIF)
    for name in ("ottt_spiking_vggws", *(f"ottt_spiking_vgg{d}{ws}" for d in (11, 13, 16, 19) for ws in ("", "_ws"))):
        yield "spiking_vggws_ottt", name, small, partial(getattr(spiking_vggws_ottt, name), spiking_neuron=LIF)
    for name, image in {
        "MNISTNet": (1, 28, 28),
        "FashionMNISTNet": (1, 28, 28),
        "NMNISTNet": (2, 34, 34),
        "CIFAR10Net": small,
        "CIFAR10DVSNet": (2, 128, 128),
        "DVSGestureNet": (2, 128, 128),
    }.items():
        yield "parametric_lif_net", name, image, partial(getattr(parametric_lif_net, name), 16, LIF)
    for name in ("ms_resnet18", "ms_resnet34", "max_resnet18"):
        yield "ms_resnet", name, small, partial(getattr(ms_resnet, name), T=1)
    yield "masnn", "att_ms_resnet18", small, partial(masnn.att_ms_resnet18, T=1)
    yield "masnn", "MASNN", (2, 32, 32), partial(masnn.MASNN, T=1, reduction_t=1)
    yield "maxformer", "maxformer_cifar", small, partial(maxformer.maxformer_cifar, T=1)
    yield "maxformer", "maxformer_10_384", small, partial(maxformer.maxformer_10_384, T=1)
    yield "qkformer", "qkformer_10_384", small, partial(qkformer.qkformer_10_384, T=1)
    yield "spike_driven_transformer", "sdt_8_384", small, partial(spike_driven_transformer.sdt_8_384, T=1)
    yield "spikformer", "spikformer_cifar10", small, partial(_flat, spikformer.spikformer_cifar10)
    for name in ("spikformer_ti", "spikformer_s"):
        yield "spikformer", name, small, partial(_flat, getattr(spikformer, name), img_size_h=32, img_size_w=32)
    yield "snas_net", "SNASNet, forward cells", small, partial(_snas_net, "forward")
    yield "spike_dhs", "SpikeDHS", small, _spike_dhs


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
    made(torch.rand(BATCH, 3, 32, 32)).sum().backward()
    for parameter in made.parameters():
        parameter.requires_grad_(parameter.grad is not None)
    functional.reset_net(made)
    return made


def failure(network: nn.Module, name: str, image: tuple[int, int, int]) -> str:
    """Why the method cannot train or evaluate the network; "" if it can."""
    method, images = create_method(name, TIMESTEPS), torch.rand(BATCH, *image)
    network.train().zero_grad()
    try:
        out = method.step(network, images, torch.arange(BATCH))
        broken = [key for key, p in network.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        missing = [key for key, p in network.named_parameters() if p.requires_grad and p.grad is None]
        if missing or broken or not out.loss.isfinite():
            return f"no gradient: {missing[:3]}, not finite: {broken[:3] or out.loss}"
        if not method.predict(network, images).isfinite().all():
            return "not finite: the evaluation"
    except Exception as error:  # whatever it is, it is a row of the table
        return f"{type(error).__name__}: {error}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="")
    parser.add_argument("--methods", default="rate_m,bptt")
    options = parser.parse_args()
    methods = list(METHODS) if options.methods == "all" else options.methods.split(",")
    warnings.filterwarnings("ignore")
    counts = dict.fromkeys(methods, 0)
    chosen = [
        each for each in spikingjelly_networks() if not options.family or each.family in options.family.split(",")
    ]
    for each in chosen:
        torch.manual_seed(0)
        network = each.make()
        failures = {method: failure(network, method, each.image) for method in methods}
        for method in methods:
            counts[method] += not failures[method]
        del network
        gc.collect()
        print(each.family, each.name, {m: why for m, why in failures.items() if why} or "works", flush=True)
    print({method: f"{count} of {len(chosen)}" for method, count in counts.items()})


if __name__ == "__main__":
    main()
