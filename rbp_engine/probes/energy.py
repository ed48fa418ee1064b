"""The energy of a network for one image: operations as counted, memory by a model, beside ANNs of the same shape.

Operations are those of a prediction by this network, from the spikes of these images (`operations.py`). What they and
memory cost is a model of hardware (`energy_model.py`). The ANNs have a real number where this network has T timesteps
of spikes: one at 32 bits, and one at ⌈log2(T + 1)⌉ bits, which tell as many values apart as a rate does.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from rbp_engine.methods.protocol import predict
from rbp_engine.printable import Line, one_line
from rbp_engine.probes import energy_model
from rbp_engine.probes.energy_model import FULL, KNOWN, REAL, SPIKING, quantised, quantised_bits
from rbp_engine.probes.layers import NEURON_LAYERS, NeuronLayer, neuron_layers
from rbp_engine.probes.operations import NORMS, OperationCounter, Operations, spike_counts
from rbp_engine.run.files.energy import Energy, EnergyCost, LayerEnergy, NeuronEnergy
from rbp_engine.spiking import LIF, OwnNeuron
from rbp_engine.spiking.carriers.sequence import SequenceTensor

#: Images whose operations are counted; each has thousands of neurons, so that rates are known well enough.
IMAGES = 32

#: Modules that cost nothing at inference, or that are folded into the weights before them.
_FREE = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout2d, *NORMS)


@dataclass
class _Flow:
    """What a layer received, or neurons put out, in all of their calls with values of one shape, for all images."""

    calls: int = 0
    steps: int = 0  # of one image, in all calls
    values: int = 0
    total: float = 0.0  # of the values
    spikes: float = 0.0
    spiking: bool = True
    of_image: bool = False  # no neuron is before it


Flows: TypeAlias = "defaultdict[str, dict[torch.Size, _Flow]]"


@dataclass
class _Seen:
    """What the layers of a network received, and what its neurons put out, by the names of the modules and the shape
    of an image's values at a timestep."""

    inputs: Flows = field(default_factory=lambda: defaultdict(dict))
    outputs: Flows = field(default_factory=lambda: defaultdict(dict))
    static: set[str] = field(default_factory=set)  # modules that run once for all timesteps


def measure_energy(model: nn.Module, images: Tensor, timesteps: int) -> Energy:
    """Count the operations of `model` for images [B, C, H, W] or [T, B, C, H, W], the first IMAGES of them.

    Counted in float32, whatever the run's precision. Nothing of the network or of the random states is changed.
    """
    images = images[:IMAGES] if images.ndim < 5 else images[:, :IMAGES]
    samples = len(images) if images.ndim < 5 else images.shape[1]
    counter = OperationCounter(model)
    with torch.random.fork_rng([images.device] if images.device.type == "cuda" else []), _eager(model):
        with _watched(model) as seen:  # not while operations are counted: looking at values takes some
            predict(model, images, timesteps)
        with counter.counting():
            predict(model, images, timesteps)
        return _summarised(model, counter.by_module(), seen, samples, timesteps)


@contextmanager
def _eager(model: nn.Module) -> Iterator[None]:
    """Within it neurons run uncompiled, as the counters need it."""
    kernels = [(module, module.kernel) for module in model.modules() if isinstance(module, LIF)]
    for module, _ in kernels:
        module.kernel = "eager"
    try:
        yield
    finally:
        for module, kernel in kernels:
            module.kernel = kernel


@contextmanager
def _watched(model: nn.Module) -> Iterator[_Seen]:
    """Within it, layers and neurons tell what they receive and put out."""
    seen = _Seen()
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, KNOWN):
                hooks.enter_context(module.register_forward_pre_hook(partial(_note_input, seen, name)))
            hooks.enter_context(module.register_forward_pre_hook(partial(_note_static, seen, name)))
            if isinstance(module, NEURON_LAYERS):
                hooks.enter_context(module.register_forward_hook(partial(_note_output, seen, name)))
        yield seen


def _note_static(seen: _Seen, name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
    if args and isinstance(args[0], SequenceTensor) and args[0].static:
        seen.static.add(name)


def _note_input(seen: _Seen, name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
    if not args or not isinstance(args[0], SequenceTensor):
        return
    carried = args[0]
    values = carried.values() if carried.static else carried.steps().flatten(0, 1)
    received = seen.inputs[name].setdefault(values.shape[1:], _Flow(of_image=not seen.outputs))
    counts = spike_counts(values, fired=bool(seen.outputs))
    received.calls += 1
    received.steps += 1 if carried.static else carried.timesteps
    received.values += values.numel()
    received.total += float(values.sum(dtype=torch.float64))
    if counts is None:
        received.spiking = False
    else:
        received.spikes += float(counts.sum(dtype=torch.float64))


def _note_output(seen: _Seen, name: str, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
    if not isinstance(output, SequenceTensor):
        return
    spikes = output.steps()
    fired = seen.outputs[name].setdefault(spikes.shape[2:], _Flow())
    fired.steps += output.timesteps
    fired.values += spikes.numel()
    fired.spikes += float(spikes.sum(dtype=torch.float64))


@dataclass
class _Costs:
    """The costs of the networks that are compared, so far."""

    spiking: EnergyCost = field(default_factory=EnergyCost)
    quantised: EnergyCost = field(default_factory=EnergyCost)
    spiking_32: EnergyCost = field(default_factory=EnergyCost)
    ann_32: EnergyCost = field(default_factory=EnergyCost)


def _summarised(
    model: nn.Module, operations: dict[str, Operations], seen: _Seen, images: int, timesteps: int
) -> Energy:
    modules = dict(model.named_modules(remove_duplicate=False))
    bits, costs = quantised_bits(timesteps), _Costs()
    layers, other_acs, uncounted = [], 0, _unknown_modules(model)
    for name, own in operations.items():
        if (received := seen.inputs.get(name)) is not None:
            layers.append(_layer(name, modules[name], own, received, images, bits, costs))
        elif own.synops or own.macs or own.dense:
            layers.append(_uncosted(name, own, images, 1 if name in seen.static else timesteps))
            uncounted.append(one_line(f"products in {name or 'the network'}"))
        else:
            other_acs += own.acs
    neurons = _neurons(neuron_layers(model), seen.outputs, images, costs)
    return Energy(
        timesteps, images, bits, layers, neurons, costs.spiking, costs.quantised, costs.spiking_32, costs.ann_32,
        other_acs / images, uncounted,
    )  # fmt: skip


def _layer(
    name: str,
    module: nn.Module,
    own: Operations,
    received: dict[torch.Size, _Flow],
    images: int,
    bits: int,
    costs: _Costs,
) -> LayerEnergy:
    """A convolution or linear layer; adds what it costs to the `costs`."""
    fixed, spiking, other, ann_macs = EnergyCost(), EnergyCost(), EnergyCost(), 0
    for shape, flow in received.items():
        ann = energy_model.real_valued(module, shape, spiking=False)
        ann_macs += ann.macs * flow.calls
        other += ann.price(REAL if flow.of_image else quantised(bits)) * flow.calls
        costs.ann_32 += ann.price(FULL) * flow.calls
        if flow.spiking:
            driven, spikes = energy_model.spike_driven(module, shape), flow.spikes / images
            without, each = driven.price(SPIKING, flow.steps, spikes)
            fixed, spiking = fixed + without, spiking + each
            costs.spiking_32 += sum(driven.price(FULL, flow.steps, spikes), EnergyCost())
        else:
            real = energy_model.real_valued(module, shape, spiking=True)
            fixed += real.price(REAL) * flow.steps
            costs.spiking_32 += real.price(FULL) * flow.steps
    costs.spiking += fixed + spiking
    costs.quantised += other
    flows = list(received.values())
    rate = sum(flow.total for flow in flows) / sum(flow.values for flow in flows)
    return LayerEnergy(
        one_line(name), own.synops / images, own.acs / images, own.macs / images, ann_macs,
        rate if all(flow.spiking for flow in flows) else None,
        fixed.total_pj, spiking.total_pj, other.total_pj,
    )  # fmt: skip


def _uncosted(name: str, own: Operations, images: int, steps: int) -> LayerEnergy:
    """Products that are not those of a layer which the energy model knows."""
    dense = own.dense / images / steps
    return LayerEnergy(one_line(name), own.synops / images, own.acs / images, own.macs / images, dense)


def _neurons(layers: dict[str, NeuronLayer], outputs: Flows, images: int, costs: _Costs) -> NeuronEnergy:
    """All neurons together; adds what they cost to the `costs`. Those of a user's own are counted, at no cost."""
    fixed, spiking, updates, fired = EnergyCost(), EnergyCost(), 0.0, 0.0
    for name, by_shape in outputs.items():
        for shape, flow in by_shape.items():
            neuron, spikes = layers[name], flow.spikes / images
            updates, fired = updates + flow.values / images, fired + spikes
            if not isinstance(neuron, LIF):
                continue
            model = energy_model.neurons(neuron, shape)
            without, each = model.price(SPIKING, flow.steps, spikes)
            fixed, spiking = fixed + without, spiking + each
            costs.spiking_32 += sum(model.price(FULL, flow.steps, spikes), EnergyCost())
    costs.spiking += fixed + spiking
    return NeuronEnergy(updates, fired, fixed.total_pj, spiking.total_pj)


def _unknown_modules(model: nn.Module) -> list[Line]:
    """The kinds of modules whose energy is left out, with their number."""
    own = [module for module in model.modules() if isinstance(module, OwnNeuron)]
    leaves = [module for module in model.modules() if not any(module.children())]
    inside = {child for module in model.modules() if isinstance(module, NEURON_LAYERS) for child in module.modules()}
    kinds = Counter(
        type(one).__name__
        for one in (*own, *(leaf for leaf in leaves if leaf not in inside and not isinstance(leaf, KNOWN + _FREE)))
    )
    return [one_line(f"{kind} × {number}" if number > 1 else kind) for kind, number in kinds.items()]
