"""Firing rates of a training step: by neuron layer and timestep, with the shares of silent and saturated neurons.

The rates are read from what the neuron layers return, on the steps that are sampled; on the steps between there is not
one operation more. Nothing waits for the device: the sums stay there until the recorder fetches them.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rbp_engine.probes.layers import NeuronLayer
from rbp_engine.probes.step_probe import StepProbe
from rbp_engine.run.files.events import Body, FiringRates
from rbp_engine.spiking.carrier import Carrier

# Of a share in an event: finer than what a batch of 128 images and a layer of 8000 neurons can tell apart.
DIGITS = 6


@dataclass
class _Neurons:
    """The neurons of a layer that have one shape: how often each fired, and how often it could have."""

    fired: Tensor
    chances: int

    def add(self, fired: Tensor, chances: int) -> None:
        self.fired += fired
        self.chances += chances


@dataclass
class _LayerSpikes:
    """What a neuron layer has fired in a step: spikes and values by timestep, and the spikes of each neuron.

    `neurons` is by the shape of a sample: a module used at two sizes has neurons of both.
    """

    spikes: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, int] = field(default_factory=dict)
    neurons: dict[torch.Size, _Neurons] = field(default_factory=dict)

    @torch.no_grad()
    def add(self, t: int, spikes: Tensor) -> None:
        """Add the spikes [B, …] of timestep `t`, 0 or 1 each."""
        # In the order of memory: reductions over other views of it take 30 times as long on a CPU.
        if spikes.ndim == 4 and spikes.is_contiguous(memory_format=torch.channels_last):
            spikes = spikes.movedim(1, -1)
        batch, shape = len(spikes), spikes.shape[1:]
        # A product with ones takes a third of the time of sum(0). Whole numbers are exact in it, below 2²⁴.
        values = spikes.reshape(batch, -1).float()
        fired = values.new_ones(batch) @ values
        count = fired.sum(dtype=torch.float64)
        self.spikes[t] = self.spikes[t] + count if t in self.spikes else count
        self.values[t] = self.values.get(t, 0) + spikes.numel()
        if shape in self.neurons:
            self.neurons[shape].add(fired, batch)
        else:
            self.neurons[shape] = _Neurons(fired, batch)

    def counted(self, timesteps: int) -> list[Tensor]:
        """The spikes at each timestep, the neurons that have fired, and those that always did: T + 2 numbers."""
        fired = [(one.fired > 0).sum() for one in self.neurons.values()]
        always = [(one.fired == one.chances).sum() for one in self.neurons.values()]
        return [*(self.spikes[t] for t in range(timesteps)), *map(_total, (fired, always))]

    def sizes(self, timesteps: int) -> list[int]:
        """What the numbers of `counted` are shares of."""
        neurons = sum(one.fired.numel() for one in self.neurons.values())
        return [*(self.values[t] for t in range(timesteps)), neurons, neurons]


def _shares(counted: list[float], sizes: list[int]) -> tuple[list[float], float, float]:
    """The rate at each timestep, and the shares of silent and of saturated neurons."""
    *rates, fired, always = (number / size for number, size in zip(counted, sizes, strict=True))
    return [round(rate, DIGITS) for rate in rates], round(1.0 - fired, DIGITS), round(always, DIGITS)


def _total(numbers: list[Tensor]) -> Tensor:
    """Their sum, as a number that holds any count."""
    return torch.stack(numbers).sum(dtype=torch.float64)


class SpikeWatch(StepProbe):
    """Samples the firing rates of some neuron layers, every `every` steps.

    A neuron is a position in a layer's output. It is silent if it fires for no sample of the batch, and saturated if it
    fires at every timestep for every sample. With several processes this is the batch of this process.
    """

    def __init__(self, layers: Mapping[str, NeuronLayer], timesteps: int, every: int) -> None:
        """`layers` by name, as of `neuron_layers`."""
        super().__init__(every)
        self._layers = layers
        self._timesteps = timesteps
        self._watched: list[_LayerSpikes] = []
        # Steps, the counts of all layers, which are still on the device, and what they are shares of.
        self._sampled: list[tuple[int, Tensor, list[list[int]]]] = []

    @contextmanager
    def watch(self) -> Iterator[None]:
        seen = self._watched = [_LayerSpikes() for _ in self._layers]
        with ExitStack() as hooks:
            for module, one in zip(self._layers.values(), seen, strict=True):
                hooks.enter_context(module.register_forward_hook(partial(_watch, one)))
            yield

    def measure(self, step: int) -> None:
        seen, self._watched = self._watched, []
        if seen and all(len(one.spikes) == self._timesteps for one in seen):  # else a layer was left out
            counted = torch.stack([count for one in seen for count in one.counted(self._timesteps)])
            self._sampled.append((step, counted, [one.sizes(self._timesteps) for one in seen]))

    def take(self) -> list[tuple[int, Body]]:
        sampled, self._sampled = self._sampled, []
        found: list[tuple[int, Body]] = []
        for step, counted, sizes in sampled:
            by_layer = counted.view(len(sizes), -1).tolist()
            rates, silent, saturated = map(list, zip(*map(_shares, by_layer, sizes), strict=True))
            found.append((step, FiringRates(rates, silent, saturated)))
        return found


def _watch(seen: _LayerSpikes, module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
    """A forward hook of a neuron layer."""
    if isinstance(output, Carrier):
        for t, spikes in output.spikes_by_step():
            seen.add(t, spikes)
