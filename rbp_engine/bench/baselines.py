"""Baselines that train the same network in other ways: each turns a model into a network and its loss of a batch.

    spikingjelly   SpikingJelly's multi-step BPTT, with its own layers and neuron
    memopt         the same with SpikingJelly's memopt, which keeps the input of each block, as bits if it is spikes
    checkpoint     the same with torch.utils.checkpoint around each block
    ann            ReLU in place of neurons: T·B images forward, then a training step at B

They convert a network of `rbp_engine.models` in place, with its weights and its neuron, and raise ValueError if they do
not support that neuron. Of a Spikformer SpikingJelly has its own, which is new. Images are [B, C, H, W], shown at every
timestep, or [T, B, C, H, W]; a baseline is made for a batch like the one that it is given, in its memory format.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from rbp_engine.bench.recomputation import use_checkpoints, use_memopt
from rbp_engine.bench.spikingjelly_networks import spikingjelly_spikformer
from rbp_engine.methods.protocol import reset_state
from rbp_engine.models.spikformer import Spikformer
from rbp_engine.probes.layers import NEURON_LAYERS
from rbp_engine.spiking import LIF, OwnNeuron

Loss = Callable[[Tensor, Tensor], Tensor]
Predict = Callable[[Tensor], Tensor]


class Baseline(NamedTuple):
    """The network that a baseline trains, and the loss of images and labels, for a backward pass.

    `predict` gives the logits [B, C] of images, in evaluation mode. `setting` is what it has chosen by itself on this
    machine.
    """

    network: nn.Module
    loss: Loss
    predict: Predict
    setting: str = ""

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Forward and backward."""
        self.loss(images, labels).backward()


def spikingjelly_baseline(model: nn.Module, timesteps: int, images: Tensor) -> Baseline:
    """SpikingJelly's multi-step BPTT; the image is repeated T times, as its examples do."""
    network = _spikingjelly_network(model, timesteps)
    return _spikingjelly(network, timesteps, _kernels(images.device))


def memopt_baseline(model: nn.Module, timesteps: int, images: Tensor) -> Baseline:
    """SpikingJelly's multi-step BPTT with its memopt, as low in memory as it gets."""
    network = _spikingjelly_network(model, timesteps)
    level = use_memopt(network, lambda module: module(by_step(images, timesteps)), images.device)
    return _spikingjelly(network, timesteps, level)


def checkpoint_baseline(model: nn.Module, timesteps: int, images: Tensor) -> Baseline:
    """SpikingJelly's multi-step BPTT with torch.utils.checkpoint."""
    network = _spikingjelly_network(model, timesteps)
    use_checkpoints(network)
    return _spikingjelly(network, timesteps)


def _spikingjelly_network(model: nn.Module, timesteps: int) -> nn.Module:
    if isinstance(model, Spikformer):
        for module in model.modules():
            _check_neuron(module)
        network = spikingjelly_spikformer(model, timesteps, _spikingjelly_neuron)
    else:
        network = model
        _replace(network, _spikingjelly_layer)
    functional.set_step_mode(network, "m")
    return network


def _spikingjelly(network: nn.Module, timesteps: int, setting: str = "") -> Baseline:
    def logits(images: Tensor) -> Tensor:
        reset_state(network)
        mean: Tensor = network(by_step(images, timesteps)).mean(0)
        return mean

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits(images), labels)

    return Baseline(network, loss, _evaluated(network, logits), setting)


def _evaluated(network: nn.Module, logits: Predict) -> Predict:
    """Logits in evaluation mode and without a graph."""

    def predict(images: Tensor) -> Tensor:
        network.eval()
        with torch.no_grad():
            found = logits(images)
        network.train()
        return found

    return predict


def _kernels(device: torch.device) -> str:
    """The kernels that SpikingJelly runs its neurons with on a card; on a CPU there is one kind."""
    if device.type == "cpu":
        return ""
    return str(functional.neuron_implementation("lif", device)["implementation"])


def ann_baseline(model: nn.Module, timesteps: int, images: Tensor) -> Baseline:
    """The network with ReLU: T·B images forward without a graph, then a training step of B images.

    A prediction is one forward pass of B.
    """
    _replace(model, lambda module: nn.ReLU(inplace=True) if isinstance(module, NEURON_LAYERS) else None)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            model(by_step(images, timesteps).flatten(0, 1))
        return F.cross_entropy(model(mean(images)), labels)

    return Baseline(model, loss, _evaluated(model, lambda images: model(mean(images))))


BASELINES: dict[str, Callable[[nn.Module, int, Tensor], Baseline]] = {
    "spikingjelly": spikingjelly_baseline,
    "memopt": memopt_baseline,
    "checkpoint": checkpoint_baseline,
    "ann": ann_baseline,
}


def by_step(images: Tensor, timesteps: int) -> Tensor:
    """Images as [T, B, C, H, W]; [B, C, H, W] is repeated, as SpikingJelly's and the paper's code do."""
    return images.unsqueeze(0).repeat(timesteps, 1, 1, 1, 1) if images.ndim == 4 else images


def mean(images: Tensor) -> Tensor:
    """The mean of images over time, [B, C, H, W]."""
    return images if images.ndim == 4 else images.mean(0)


def _replace(model: nn.Module, by: Callable[[nn.Module], nn.Module | None]) -> None:
    """Replace every submodule by `by(module)`, unless that is None."""
    for name, child in model.named_children():
        other = by(child)
        if other is None:
            _replace(child, by)
        else:
            setattr(model, name, other)


def _spikingjelly_neuron(lif: LIF) -> nn.Module:
    decay, threshold = _fixed(lif)
    node: nn.Module = neuron.LIFNode(
        tau=_time_constant(decay),
        decay_input=False,
        v_threshold=threshold,
        v_reset=lif.v_reset,
        detach_reset=lif.detach_reset,
        surrogate_function=lif.surrogate,
    )
    return node


def _spikingjelly_layer(module: nn.Module) -> nn.Module | None:
    _check_neuron(module)
    if isinstance(module, LIF):
        return _spikingjelly_neuron(module)
    if isinstance(module, nn.Dropout):  # theirs does not derive from torch's
        dropout: nn.Module = layer.Dropout(module.p)
        return dropout
    if not list(module.children()) and hasattr(layer, type(module).__name__):
        return _as_class(module, getattr(layer, type(module).__name__))
    return None


def _fixed(module: LIF) -> tuple[float, float]:
    """λ and V_th. Raises ValueError if they are learnt."""
    decay, threshold = module.decay, module.threshold
    if isinstance(decay, Tensor) or isinstance(threshold, Tensor):
        raise ValueError("it has neurons with a fixed decay and threshold: leave out neuron.learn or --against")
    return decay, threshold


def _check_neuron(module: nn.Module) -> None:
    """Raise ValueError for a neuron of a user's own, which SpikingJelly does not have."""
    if isinstance(module, OwnNeuron):
        raise ValueError(f"spikingjelly has no neuron {type(module).__name__}: leave it out of --against")


def _time_constant(decay: float) -> float:
    """τ of SpikingJelly's neuron, which keeps 1 − 1/τ of its membrane potential. Raises ValueError for decay 0."""
    if decay == 0.0:
        raise ValueError("SpikingJelly's LIFNode keeps some of its membrane: it has no neuron.decay = 0")
    return math.inf if decay == 1.0 else 1.0 / (1.0 - decay)


def _as_class(module: nn.Module, kind: Any) -> nn.Module:
    """A SpikingJelly layer with the settings and parameters of the torch layer that it derives from."""
    other: nn.Module = kind.__new__(kind)
    other.__dict__.update(module.__dict__ | {"_step_mode": "s"})
    return other
