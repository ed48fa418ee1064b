"""The energy of a network for one image, beside ANNs of the same shape: arithmetic on the count of its operations.

The spikes are those of `operations.py`. What they and memory cost is the analytical model of Lemaire et al. (2022), as
SpikingJelly has it, for words of any width. It reads the shapes of a module and how many of its inputs are spikes. It
is therefore asked about each layer alone: once without a spike, once with all of them. Between the two the energy is
proportional to the spikes. The sum over the layers is that of `estimate_lemaire_energy` for a network built of
SpikingJelly's neurons (`tests/unit/probes/test_energy.py` builds it, and compares).

The ANNs have a real number where this network has T timesteps of spikes: one at 32 bits, and one at ⌈log2(T + 1)⌉ bits,
which tell as many values apart as a rate does.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from spikingjelly.activation_based.neuron import IFNode, LIFNode
from spikingjelly.activation_based.op_counter import LemaireEnergyCostConfig, LemaireEnergyProfiler
from torch import Tensor, nn

from rbp_engine.methods.protocol import is_static
from rbp_engine.printable import Line, one_line
from rbp_engine.probes.layers import NEURON_LAYERS, WEIGHT_LAYERS
from rbp_engine.probes.operations import NORMS, LayerCall, Operations, count_operations
from rbp_engine.run.files.energy import Energy, EnergyCost, LayerEnergy, NeuronEnergy
from rbp_engine.spiking import LIF, OwnNeuron

#: Images whose operations are counted; each has thousands of neurons, so that rates are known well enough.
IMAGES = 32
#: Modules that cost nothing at inference, or that are folded into the weights before them.
_FREE = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout2d, *NORMS)


@dataclass(frozen=True)
class Widths:
    """Bits of what memory holds, and picojoules of a multiplication and an addition.

    `inputs` are activations, or the addresses of spikes. A membrane is read and written for each synaptic operation.
    Arithmetic is Horowitz's (ISSCC 2014, 45 nm): 32-bit integers 3.1 pJ a multiplication and 0.1 pJ an addition, 8 bits
    0.2 and 0.03 pJ. Memory costs by its size: 10 pJ a 32-bit word at 8 kB, 20 at 32 kB, 100 at 1 MB, linear between.
    """

    inputs: int
    weights: int
    membranes: int
    multiply_pj: float
    add_pj: float


WORD = 32  # bits of a word in the model
FULL = Widths(WORD, WORD, WORD, 3.1, 0.1)
#: 8-bit weights, 16-bit sums and membranes, spikes as 16-bit addresses.
SPIKING = Widths(16, 8, 16, 0.2, 0.05)
#: A layer whose input is an image or another real number.
REAL = replace(SPIKING, inputs=8)


def quantised_bits(timesteps: int) -> int:
    """The bits that hold as many values as a rate of T timesteps: ⌈log2(T + 1)⌉."""
    return math.ceil(math.log2(timesteps + 1))


def quantised(bits: int) -> Widths:
    """An ANN with activations of `bits` bits and the same weights; a multiplier's energy grows with both widths."""
    return replace(SPIKING, inputs=bits, multiply_pj=0.2 * bits / 8)


NOTHING = EnergyCost()


@dataclass(frozen=True)
class Costs:
    """What a layer costs for one image: without a spike and in proportion to the spikes; in the other networks."""

    fixed: EnergyCost = NOTHING
    spiking: EnergyCost = NOTHING
    spiking_32: EnergyCost = NOTHING
    quantised: EnergyCost = NOTHING
    ann_32: EnergyCost = NOTHING

    def __add__(self, other: "Costs") -> "Costs":
        return Costs(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


def measure_energy(model: nn.Module, images: Tensor, timesteps: int) -> Energy:
    """Count the operations of `model` for images [B, C, H, W] or [T, B, C, H, W], the first IMAGES of them.

    Counted in float32, whatever the run's precision. Nothing of the network or of the random states is changed.
    """
    images = images[:IMAGES] if is_static(images) else images[:, :IMAGES]
    samples = images.shape[0 if is_static(images) else 1]
    with torch.random.fork_rng([images.device] if images.device.type == "cuda" else []):
        return _energy_of(model, count_operations(model, images, timesteps), samples, timesteps)


def _energy_of(model: nn.Module, counted: dict[str, Operations], images: int, timesteps: int) -> Energy:
    modules, bits = dict(model.named_modules()), quantised_bits(timesteps)
    layers: list[LayerEnergy] = []
    of_layers: list[Costs] = []
    of_neurons: list[Costs] = []
    updates, spikes, other_acs, uncounted = 0.0, 0.0, 0, _unknown_modules(model)
    for name, own in counted.items():
        costs = [_costs(modules[name], call, images, bits) for call in own.calls]
        synops, acs, macs, ann_macs = (number / images for number in (own.synops, own.acs, own.macs, own.ann_macs))
        layer = LayerEnergy(one_line(name), synops, acs, macs, ann_macs)
        if isinstance(modules[name], NEURON_LAYERS):
            of_neurons += costs
            updates += sum(call.values / images for call in own.calls)
            spikes += sum((call.spikes or 0.0) / images for call in own.calls)
        elif own.calls:
            cost = sum(costs, Costs())
            of_layers.append(cost)
            fixed, spiking, ann = (part.total_pj for part in (cost.fixed, cost.spiking, cost.quantised))
            layers.append(replace(layer, rate=_rate(own.calls), fixed_pj=fixed, spiking_pj=spiking, quantised_pj=ann))
        elif own.ann_macs:
            layers.append(layer)
            uncounted.append(one_line(f"products in {name or 'the network'}"))
        else:
            other_acs += own.acs
    neurons = sum(of_neurons, Costs())
    return Energy(
        timesteps,
        images,
        bits,
        layers,
        NeuronEnergy(updates, spikes, neurons.fixed.total_pj, neurons.spiking.total_pj),
        spiking=_total(cost.fixed + cost.spiking for cost in (*of_layers, neurons)),
        quantised=_total(cost.quantised for cost in of_layers),
        spiking_32=_total(cost.spiking_32 for cost in (*of_layers, *of_neurons)),
        ann_32=_total(cost.ann_32 for cost in of_layers),
        other_acs=other_acs / images,
        uncounted=uncounted,
    )


def _total(costs: Iterable[EnergyCost]) -> EnergyCost:
    return sum(costs, NOTHING)


def _rate(calls: list[LayerCall]) -> float | None:
    """The mean of what a layer receives; None if some of it is not made of spikes."""
    rate = sum(call.total for call in calls) / sum(call.values for call in calls)
    return None if any(call.spikes is None for call in calls) else rate


def _costs(module: nn.Module, call: LayerCall, images: int, bits: int) -> Costs:
    """Of a layer that receives these values, or of neurons that put them out; a user's own neurons cost nothing."""
    if isinstance(module, OwnNeuron):
        return Costs()
    if isinstance(module, LIF):  # a step costs the same for all values of V_th, and of λ but 1
        leaks = bool((torch.as_tensor(module.decay, dtype=torch.float64) != 1.0).any())
        return _driven(LIFNode(v_threshold=0.1) if leaks else IFNode(v_threshold=0.1), call, images)
    if call.spikes is None:
        real = _profiled(module, call.shape, 0.5)
        costs = Costs(_price(real, REAL) * call.steps, spiking_32=_price(real, FULL) * call.steps)
    else:
        costs = _driven(module, call, images)
    ann = _profiled(module, call.shape, 0.5, spiking=False)
    return replace(costs, quantised=_price(ann, REAL if call.of_image else quantised(bits)), ann_32=_price(ann, FULL))


def _driven(module: nn.Module, call: LayerCall, images: int) -> Costs:
    """What grows with spikes: the model is asked about a timestep without any, and about one with all of them."""
    silent, firing = _profiled(module, call.shape, 0.0), _profiled(module, call.shape, 1.0)

    def at(widths: Widths) -> tuple[EnergyCost, EnergyCost]:
        none = _price(silent, widths)
        each = (_price(firing, widths) - none) * (1.0 / call.shape.numel())
        return none * call.steps, each * ((call.spikes or 0.0) / images)

    return Costs(*at(SPIKING), spiking_32=_total(at(FULL)))


def _profiled(module: nn.Module, shape: torch.Size, value: float, *, spiking: bool = True) -> LemaireEnergyProfiler:
    """What the model finds of a module for one image and timestep that have this `value` throughout.

    It takes 0 and 1 for spikes, and anything else for real numbers. `spiking` says whether the network is.
    """
    profiler = LemaireEnergyProfiler()
    # In a network with neurons, they and not the layers write activations: one beside it makes it such a network.
    profiler.bind_model(nn.ModuleList([module, IFNode()]) if spiking else module)
    like = next(module.parameters(), torch.empty(0))
    with torch.no_grad(), profiler:
        module(like.new_full((1, *shape), value))
    return profiler


def _price(found: LemaireEnergyProfiler, widths: Widths) -> EnergyCost:
    """The energy at these widths: of narrower words buffers are smaller by as much, and so is an access."""

    def parts(bits: int) -> dict[str, float]:
        share = bits / WORD
        points = tuple((size / share, pj * share) for size, pj in LemaireEnergyCostConfig().memory_breakpoints)
        found.config.cost_config = LemaireEnergyCostConfig(widths.add_pj, widths.multiply_pj, points)
        energies: dict[str, float] = found.get_report().breakdown_pj
        return energies

    inputs, weights, membranes = (parts(bits) for bits in (widths.inputs, widths.weights, widths.membranes))
    memory = inputs["inout_pj"] + weights["params_pj"] + membranes["potential_pj"]
    return EnergyCost(inputs["ops_pj"] + inputs["addressing_pj"], memory)


def _unknown_modules(model: nn.Module) -> list[Line]:
    """The kinds of modules whose energy is left out, with their number."""
    inside = {part for module in model.modules() if isinstance(module, NEURON_LAYERS) for part in module.modules()}
    kinds = Counter(
        type(module).__name__
        for module in model.modules()
        if isinstance(module, OwnNeuron)
        or not (module in inside or any(module.children()) or isinstance(module, WEIGHT_LAYERS + _FREE))
    )
    return [one_line(f"{kind} × {number}" if number > 1 else kind) for kind, number in kinds.items()]
