"""Firing rates of a training step: by neuron layer and timestep, with the shares of silent and saturated neurons.

The rates are read from what the neuron layers return, on the steps that are sampled; the steps between have no
additional operation. Nothing waits for the device: the sums stay there until the recorder fetches them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rbp_engine.probes.layers import NeuronLayer, hooked
from rbp_engine.probes.step_probe import StepProbe
from rbp_engine.run.files.events import FiringRates
from rbp_engine.spiking.carrier import Carrier

# Of a share in an event: finer than what a batch of 128 images and a layer of 8000 neurons can tell apart.
DIGITS = 6


@dataclass
class _LayerSpikes:
    """What a neuron layer fired in a step: spikes and values by timestep, and the spikes of each neuron.

    `neurons` is by the shape of a sample: a module used at two sizes has neurons of both. It has for each how often it
    fired, and how often it could have.
    """

    spikes: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, int] = field(default_factory=dict)
    neurons: dict[torch.Size, tuple[Tensor, int]] = field(default_factory=dict)

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
        before, chances = self.neurons.get(shape, (0, 0))
        self.neurons[shape] = (before + fired, chances + batch)
        self.spikes[t] = self.spikes.get(t, 0) + fired.sum(dtype=torch.float64)
        self.values[t] = self.values.get(t, 0) + spikes.numel()

    def counted(self, timesteps: int) -> tuple[Tensor, list[int]]:
        """The spikes at each timestep, the neurons that have fired, and those that always did, [T + 2]; and the totals
        that they are shares of.
        """
        ever = torch.stack([torch.count_nonzero(fired) for fired, _ in self.neurons.values()]).sum()
        always = torch.stack([(fired == chances).sum() for fired, chances in self.neurons.values()]).sum()
        neurons = sum(fired.numel() for fired, _ in self.neurons.values())
        counts = torch.stack([*(self.spikes[t] for t in range(timesteps)), ever.double(), always.double()])
        return counts, [*(self.values[t] for t in range(timesteps)), neurons, neurons]


class SpikeWatch(StepProbe):
    """Samples the firing rates of some neuron layers, every `every` steps.

    A neuron is a position in a layer's output. It is silent if it fires for no sample of the batch, and saturated if it
    fires at every timestep for every sample. With several processes this is the batch of this process.
    """

    def __init__(self, layers: Mapping[str, NeuronLayer], timesteps: int, every: int) -> None:
        """`layers` by name, as from `neuron_layers`."""
        super().__init__(every)
        self._layers = layers
        self._timesteps = timesteps
        self._watched: list[_LayerSpikes] = []

    @contextmanager
    def watch(self) -> Iterator[None]:
        self._watched = [_LayerSpikes() for _ in self._layers]
        pairs = zip(self._layers.values(), self._watched, strict=True)
        with hooked(layer.register_forward_hook(partial(_watch, seen)) for layer, seen in pairs):
            yield

    def measure(self, step: int) -> None:
        seen, self._watched = self._watched, []
        if seen and all(len(spikes.spikes) == self._timesteps for spikes in seen):  # else a layer was left out
            counts, sizes = zip(*(spikes.counted(self._timesteps) for spikes in seen), strict=True)
            self.keep(step, partial(_events, torch.stack(counts), sizes))


def _events(counts: Tensor, sizes: Sequence[Sequence[int]]) -> list[FiringRates]:
    """The events for counts [layers, T + 2], with the totals that they are shares of."""
    shares = [
        [number / size for number, size in zip(*layer, strict=True)]
        for layer in zip(counts.tolist(), sizes, strict=True)
    ]
    return [
        FiringRates(
            rates=[[round(rate, DIGITS) for rate in rates] for *rates, _, _ in shares],
            silent=[round(1.0 - ever, DIGITS) for *_, ever, _ in shares],
            saturated=[round(always, DIGITS) for *_, always in shares],
        )
    ]


def _watch(seen: _LayerSpikes, module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
    """A forward hook of a neuron layer."""
    if isinstance(output, Carrier):
        for t, spikes in output.by_step():
            seen.add(t, spikes)
