"""What a layer costs: the analytical model of Lemaire et al. (2022), as SpikingJelly has it, for words of any width.

The model reads the shapes of a module and how many of its inputs are spikes. It is therefore asked about each layer
alone: once without a spike, once with all of them. Between the two the energy is proportional to the spikes, so a count
of spikes is all that is needed of the network itself. The sum over the layers is that of `estimate_lemaire_energy` for
a network built of SpikingJelly's neurons (`tests/unit/probes/test_energy.py` builds it, and compares).

Energies of arithmetic are those of Horowitz (ISSCC 2014, 45 nm): 32-bit integers 3.1 pJ a multiplication and 0.1 pJ an
addition, 8 bits 0.2 and 0.03 pJ, 32-bit floats 3.7 and 0.9 pJ. Memory costs by its size: 10 pJ a 32-bit word at 8 kB,
20 at 32 kB, 100 at 1 MB, linear between.
"""

import math
from dataclasses import dataclass, replace

import torch
from spikingjelly.activation_based.neuron import IFNode, LIFNode
from spikingjelly.activation_based.op_counter import LemaireEnergyCostConfig, LemaireEnergyProfiler
from torch import Tensor, nn

from rbp_engine.run.files.energy import EnergyCost
from rbp_engine.spiking import LIF

#: Modules whose energy the model knows, besides neurons.
KNOWN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
WORD = 32  # bits of a word in the model

WEIGHT_BITS, EVENT_BITS, MEMBRANE_BITS, IMAGE_BITS = 8, 16, 16, 8


@dataclass(frozen=True)
class Widths:
    """Bits of what memory holds, and picojoules of a multiplication and an addition.

    `inputs` are activations, or the addresses of spikes. A membrane is read and written for each synaptic operation.
    """

    inputs: int = WORD
    weights: int = WORD
    membranes: int = WORD
    multiply_pj: float = 3.1
    add_pj: float = 0.1


FULL = Widths()
#: 8-bit weights, 16-bit sums and membranes, spikes as 16-bit addresses.
SPIKING = Widths(EVENT_BITS, WEIGHT_BITS, MEMBRANE_BITS, 0.2, 0.05)
#: A layer whose input is an image or another real number.
REAL = replace(SPIKING, inputs=IMAGE_BITS)


def quantised_bits(timesteps: int) -> int:
    """The bits that hold as many values as a rate of T timesteps: ⌈log2(T + 1)⌉."""
    return math.ceil(math.log2(timesteps + 1))


def quantised(bits: int) -> Widths:
    """An ANN with activations of `bits` bits and the same weights; a multiplier's energy grows with both widths."""
    return replace(SPIKING, inputs=bits, multiply_pj=0.2 * bits / 8)


class Profiled:
    """What the model found of a module for one image and timestep, to be priced at any widths."""

    def __init__(self, module: nn.Module, inputs: Tensor, *, spiking: bool = True) -> None:
        """`inputs` [1, …]; `spiking` says whether the layer is one of a spiking network."""
        self._profiler = LemaireEnergyProfiler()
        # In a network with neurons, they and not the layers write activations: one beside it makes it such a network.
        self._profiler.bind_model(nn.ModuleList([module, IFNode()]) if spiking else module)
        with torch.no_grad(), self._profiler:
            module(inputs)

    @property
    def macs(self) -> int:
        return int(self._profiler.get_report().counts["mac"])

    def price(self, widths: Widths) -> EnergyCost:
        """The energy at these widths."""
        inputs, weights, membranes = (
            self._memory(bits, widths) for bits in (widths.inputs, widths.weights, widths.membranes)
        )
        memory = inputs["inout_pj"] + weights["params_pj"] + membranes["potential_pj"]
        return EnergyCost(inputs["ops_pj"] + inputs["addressing_pj"], memory)

    def _memory(self, bits: int, widths: Widths) -> dict[str, float]:
        """The parts of the energy if words have this many bits: buffers are smaller by as much, and so is an access."""
        share = bits / WORD
        full = LemaireEnergyCostConfig().memory_breakpoints
        points = tuple((size / share, pj * share) for size, pj in full)
        self._profiler.config.cost_config = LemaireEnergyCostConfig(widths.add_pj, widths.multiply_pj, points)
        found: dict[str, float] = self._profiler.get_report().breakdown_pj
        return found


@dataclass(frozen=True)
class BySpikes:
    """An energy that grows with spikes: for one image and timestep without any, and for each spike."""

    none: Profiled
    all_of_them: Profiled
    inputs: int

    def price(self, widths: Widths, steps: float, spikes: float) -> tuple[EnergyCost, EnergyCost]:
        """What is spent in `steps` timesteps without a spike, and in proportion to the `spikes`."""
        none = self.none.price(widths)
        each = (self.all_of_them.price(widths) - none) * (1.0 / self.inputs)
        return none * steps, each * spikes


def spike_driven(module: nn.Module, shape: torch.Size) -> BySpikes:
    """A convolution or linear layer whose input, of this shape for an image and timestep, are spikes."""
    silent = _filled(module, shape, 0.0)
    return BySpikes(Profiled(module, silent), Profiled(module, silent + 1), silent.numel())


def real_valued(module: nn.Module, shape: torch.Size, *, spiking: bool) -> Profiled:
    """A convolution or linear layer whose input are real numbers; in a spiking network, or in an ANN."""
    # The model takes what is 0 or 1 throughout for spikes.
    return Profiled(module, _filled(module, shape, 0.5), spiking=spiking)


def neurons(neuron: LIF, shape: torch.Size) -> BySpikes:
    """A neuron layer that puts out this shape for an image and timestep."""
    far = 1e9 * _number(neuron.threshold)
    current = torch.full((1, *shape), far)
    found = [Profiled(twin_neuron(neuron), sign * current) for sign in (-1, 1)]
    return BySpikes(found[0], found[1], current.numel())


def twin_neuron(neuron: LIF) -> IFNode | LIFNode:
    """SpikingJelly's neuron that fires as this one does, step by step: λ = 1 − 1/τ.

    What is learnt by channel has its mean: the operations of a step are the same for all values.
    """
    decay = _number(neuron.decay)
    settings = {
        "v_threshold": _number(neuron.threshold),
        "v_reset": neuron.v_reset,
        "surrogate_function": neuron.surrogate,
        "detach_reset": neuron.detach_reset,
    }
    if decay == 1.0:
        return IFNode(**settings)
    twin = LIFNode(tau=2.0, decay_input=False, **settings)
    twin.tau = 1.0 / (1.0 - decay)  # here, because the constructor refuses τ = 1, which is λ = 0
    return twin


def _number(value: float | Tensor) -> float:
    return float(value.mean()) if isinstance(value, Tensor) else value


def _filled(module: nn.Module, shape: torch.Size, value: float) -> Tensor:
    weight = next(module.parameters())
    return torch.full((1, *shape), value, dtype=weight.dtype, device=weight.device)
