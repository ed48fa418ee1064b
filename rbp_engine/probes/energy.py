"""The energy of a network for one image, beside ANNs of the same shape: arithmetic on the count of its operations.

The operations of a prediction are counted module by module, with the spikes that drive them. Additions are counted by
the rules of SpikingJelly's `ACCounter`. Those take a tensor of 0 and 1 for spikes, and a product of anything else for
dense multiplications. Here an input that sums or averages spikes (average pools, SEW's sums) counts as the spikes that
it is made of: hardware adds the weight, divided beforehand by the size of the pool, once for each of them.

What spikes and memory cost is the analytical model of Lemaire et al. (2022), as SpikingJelly has it, for words of any
width. It reads the shapes of a module and how many of its inputs are spikes. It is therefore asked about each layer
alone: once without a spike, once with all of them. Between the two the energy is proportional to the spikes. The sum
over the layers is that of `estimate_lemaire_energy` for a network built of SpikingJelly's neurons
(`tests/unit/probes/test_energy.py` builds it, and compares).

The ANNs have one real number where this network has T timesteps of spikes: one at 32 bits, and one at ⌈log2(T + 1)⌉
bits, which tell as many values apart as a rate does.
"""

import copy
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from spikingjelly.activation_based.neuron import IFNode, LIFNode
from spikingjelly.activation_based.op_counter import (
    ACCounter,
    BaseCounter,
    DispatchCounterMode,
    LemaireEnergyCostConfig,
    LemaireEnergyProfiler,
    is_binary_tensor,
)
from torch import Tensor, nn

from rbp_engine.methods.inputs import is_static
from rbp_engine.methods.protocol import predict
from rbp_engine.printable import Line, one_line
from rbp_engine.probes.layers import NEURON_LAYERS, WEIGHT_LAYERS, hooked, names_for_people, uncompiled, weight_layers
from rbp_engine.run.files.energy import Energy, EnergyCost, LayerEnergy, NeuronEnergy
from rbp_engine.spiking import LIF, OwnNeuron, SequenceTensor

aten = torch.ops.aten
#: Their scale and shift are folded into the weights before them.
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
#: Operations with weights or between activations, and which of their arguments is the input.
PRODUCTS: dict[Any, int] = {
    aten.convolution.default: 0,
    aten.mm.default: 0,
    aten.addmm.default: 1,
    aten.bmm.default: 0,
    aten.baddbmm.default: 1,
}
#: The largest pool, in places, whose averages are recognised: 16 × 16.
LARGEST_POOL = 256
TOLERANCE = 5e-5  # of 256 times an average in float32
SAMPLED = 2**16  # values that are looked at first


@dataclass(frozen=True)
class LayerCall:
    """What a layer received in a call, or neurons returned, for all images.

    `shape` is that of one image at one timestep; `of_image` says that no neuron came before. `steps` is the number of
    timesteps, 1 if all are the same. `spikes` is None if the values are not made of spikes.
    """

    shape: torch.Size
    of_image: bool
    steps: int
    values: int
    total: float  # of the values
    spikes: float | None


@dataclass
class Operations:
    """Operations of a module itself, without those of the modules in it, for all images.

    `synops` are weights added for spikes, `acs` all additions, and `macs` multiplications with an addition. `ann_macs`
    are those of an ANN, whose values are real numbers of one timestep. `calls` are those of WEIGHT_LAYERS and neurons.
    """

    synops: int = 0
    acs: int = 0
    macs: int = 0
    ann_macs: float = 0.0
    calls: list[LayerCall] = field(default_factory=list)


def count_operations(model: nn.Module, images: Tensor, timesteps: int) -> dict[str, Operations]:
    """The operations of a prediction in float32, by the names of the modules, in the order of their first operations.

    "" is the network itself. Batch norms, which are folded into weights, and neurons count nothing.
    """
    model = uncompiled(copy.deepcopy(model))  # the counters see nothing of compiled neurons
    count, counter = _Count(timesteps), BaseCounter()
    counter.ignore_modules = [*NEURON_LAYERS, *NORMS]
    counter.rules = {operation: partial(count.add, operation, rule) for operation, rule in ACCounter().rules.items()}
    del counter.rules[aten.native_batch_norm.default]
    hooks = (
        hook
        for name, module in model.named_modules()
        for hook in (
            module.register_forward_pre_hook(partial(count.enter, name)),
            module.register_forward_hook(count.leave),
        )
    )
    with hooked(hooks), DispatchCounterMode([counter]):
        predict(model, images, timesteps)
    return {name: own for name, own in count.by_module.items() if name is not None}


class _Count:
    """The operations so far, and the modules that are running, the innermost last, each with the timesteps of its call.

    The name None has the operations outside of all modules, and those that inspect values.
    """

    def __init__(self, timesteps: int) -> None:
        self.by_module: defaultdict[str | None, Operations] = defaultdict(Operations)
        self._timesteps = timesteps
        self._running: list[tuple[str | None, int]] = [(None, timesteps)]
        self._fired = False

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        """A hook before every module."""
        received = args[0] if args and isinstance(args[0], SequenceTensor) else None
        steps = 1 if received is not None and received.current.static else self._timesteps
        self._running.append((name, steps))
        if received is not None and isinstance(module, WEIGHT_LAYERS):
            values = received.values()  # computes deferred sums, as the layer would
            self._see(name, values if received.current.static else values.flatten(0, 1), steps)

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        """A hook after every module."""
        name, _ = self._running.pop()
        if isinstance(module, NEURON_LAYERS) and isinstance(output, SequenceTensor):
            self._fired = True
            # The modules around the neurons go on with spikes, even if an image without time came in.
            self._running = [(around, self._timesteps) for around, _ in self._running]
            self._see(name, output.steps().flatten(0, 1), self._timesteps)

    def _see(self, name: str | None, values: Tensor, steps: int) -> None:
        """Inspect values [N, …] that a module receives or returns."""
        self._running.append((None, steps))
        counts = spike_counts(values, fired=self._fired)
        spikes = None if counts is None else float(counts.sum(dtype=torch.float64))
        total = float(values.sum(dtype=torch.float64))
        call = LayerCall(values.shape[1:], not self._fired, steps, values.numel(), total, spikes)
        self.by_module[name].calls.append(call)
        self._running.pop()

    def add(
        self,
        operation: Any,
        additions: Callable[..., int],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Tensor,
    ) -> int:
        """Count an operation; `additions` is its rule. The counter itself gets none."""
        name, steps = self._running[-1]
        own, at = self.by_module[name], PRODUCTS.get(operation)
        if at is None:
            own.acs += additions(args, kwargs, out)
            return 0
        counts, dense = spike_counts(args[at], fired=self._fired), _dense(operation, args, out)
        if counts is None:
            synops = additions(args, kwargs, out)
            own.macs += 0 if is_binary_tensor(args[at + 1]) else dense  # the other factor may be spikes
        else:  # the first spike of each position, the second, and so on
            spikes = ((counts >= number).to(args[at].dtype) for number in range(1, int(counts.max()) + 1))
            synops = sum(additions((*args[:at], part, *args[at + 1 :]), kwargs, out) for part in spikes)
        own.synops += synops
        own.acs += synops
        own.ann_macs += dense / steps
        return 0


def _dense(product: Any, args: tuple[Any, ...], out: Tensor) -> int:
    """The multiplications of a product if neither factor were spikes."""
    if product is not aten.convolution.default:
        return int(out.numel() * args[PRODUCTS[product]].shape[-1])
    values, weight, transposed = args[0], args[1], args[6]
    return int((values if transposed else out).numel() * weight[0].numel())


def spike_counts(values: Tensor, *, fired: bool) -> Tensor | None:
    """How many spikes each value sums, or averages over a pool; None if the values are not made of spikes.

    Before a neuron has `fired`, the values are the network's input, which counts as spikes only if it is 0 and 1. The
    pool is the smallest that explains all values. A pool whose windows differ in size counts as the largest of them.
    """
    if bool(((values == 0) | (values == 1)).all()):
        return values
    some = values.flatten()[:SAMPLED].unique().double().cpu()
    if not fired or len(some) > LARGEST_POOL + 1 or not values.min() >= 0 or not values.isfinite().all():
        return None
    for places in range(1, LARGEST_POOL + 1):
        if _off(some, places) < TOLERANCE and _off(values, places) < TOLERANCE:
            return (values * places).round()
    return None


def _off(values: Tensor, places: int) -> float:
    """How far the values, times the places of a pool, are from whole numbers."""
    scaled = values * places
    return float((scaled - scaled.round()).abs().max())


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
    """What a layer costs for one image: without a spike, and for its spikes; and in the other networks."""

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
    called = names_for_people(model, weight_layers(model))
    layers: list[LayerEnergy] = []
    in_layers, in_neurons = Costs(), Costs()
    updates, spikes, other_acs, uncounted = 0.0, 0.0, 0, _unknown_modules(model)
    for name, own in counted.items():
        cost = sum((_costs(modules[name], call, images, bits) for call in own.calls), Costs())
        synops, acs, macs, ann_macs = (number / images for number in (own.synops, own.acs, own.macs, own.ann_macs))
        layer = LayerEnergy(one_line(called.get(name, name)), synops, acs, macs, ann_macs)
        if isinstance(modules[name], NEURON_LAYERS):
            in_neurons += cost
            updates += sum(call.values / images for call in own.calls)
            spikes += sum((call.spikes or 0.0) / images for call in own.calls)
        elif own.calls:
            in_layers += cost
            fixed, spiking, ann = (part.total_pj for part in (cost.fixed, cost.spiking, cost.quantised))
            layers.append(replace(layer, rate=_rate(own.calls), fixed_pj=fixed, spiking_pj=spiking, quantised_pj=ann))
        elif own.ann_macs:
            layers.append(layer)
            uncounted.append(one_line(f"products in {name or 'the network'}"))
        else:
            other_acs += own.acs
    return Energy(
        timesteps,
        images,
        bits,
        layers,
        NeuronEnergy(updates, spikes, in_neurons.fixed.total_pj, in_neurons.spiking.total_pj),
        spiking=in_layers.fixed + in_layers.spiking + in_neurons.fixed + in_neurons.spiking,
        quantised=in_layers.quantised,
        spiking_32=in_layers.spiking_32 + in_neurons.spiking_32,
        ann_32=in_layers.ann_32,
        other_acs=other_acs / images,
        uncounted=uncounted,
    )


def _rate(calls: list[LayerCall]) -> float | None:
    """The mean of what a layer receives; None if some of it is not made of spikes."""
    rate = sum(call.total for call in calls) / sum(call.values for call in calls)
    return None if any(call.spikes is None for call in calls) else rate


def _costs(module: nn.Module, call: LayerCall, images: int, bits: int) -> Costs:
    """The costs of a layer that receives these values, or of neurons that return them; a user's own cost nothing."""
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

    return Costs(*at(SPIKING), spiking_32=sum(at(FULL), NOTHING))


def _profiled(module: nn.Module, shape: torch.Size, value: float, *, spiking: bool = True) -> LemaireEnergyProfiler:
    """What the model finds for a module and one image at one timestep, filled with this `value`.

    It takes 0 and 1 for spikes, and anything else for real numbers. `spiking` says whether the network is spiking.
    """
    profiler = LemaireEnergyProfiler()
    # In a network with neurons they write the activations, and not the layers: a neuron beside it makes it one.
    profiler.bind_model(nn.ModuleList([module, IFNode()]) if spiking else module)
    like = next(module.parameters(), torch.empty(0))
    with torch.no_grad(), profiler:
        module(like.new_full((1, *shape), value))
    return profiler


def _price(profiler: LemaireEnergyProfiler, widths: Widths) -> EnergyCost:
    """The energy at these widths: narrower words make buffers smaller in proportion, and each access cheaper."""

    def parts(bits: int) -> dict[str, float]:
        share = bits / WORD
        points = tuple((size / share, pj * share) for size, pj in LemaireEnergyCostConfig().memory_breakpoints)
        profiler.config.cost_config = LemaireEnergyCostConfig(widths.add_pj, widths.multiply_pj, points)
        return profiler.get_report().breakdown_pj

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
