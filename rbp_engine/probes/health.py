"""Whether a network can learn: where its membranes are, how large its eligibilities, gradients and updates are.

Training keeps no membranes. On a sampled step the neurons of a few samples are run once more, from the currents that
they receive, as the rate methods run them. On the steps between there is not one operation more, and nothing waits for
the device before the results are fetched.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rbp_engine.probes.layers import NeuronLayer
from rbp_engine.probes.step_probe import StepProbe
from rbp_engine.run.files.events import ELIGIBILITY_QUANTILES, Body, Health
from rbp_engine.spiking import LIF
from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.kernels.neuron_input import membrane_dtype
from rbp_engine.spiking.kernels.neurons import RateLoop
from rbp_engine.spiking.surrogate import peak_slope, slope

#: Samples whose neurons are run once more, of each micro-batch: a layer has thousands of membranes in each.
SAMPLES = 8
#: Values that quantiles are taken of, evenly spaced where there are more: a sort of them costs more than all the rest.
SORTED = 2**16
#: Of a number in an event.
SIGNIFICANT_DIGITS = 6


@dataclass
class _Use:
    """A pass of some samples through a neuron layer, and the timestep that comes next."""

    loop: RateLoop
    spikes: Tensor
    next: int = 0

    @classmethod
    def of(cls, module: NeuronLayer, current: Tensor, timesteps: int) -> "_Use":
        """One for currents [samples, …], from rest."""
        spikes = torch.empty_like(current, dtype=membrane_dtype(current.dtype))
        return cls(module.neurons_for(current).rate_loop(current, timesteps), spikes)

    def step(self, current: Tensor) -> Tensor:
        """The distances of the neurons from their threshold at the next timestep, [samples, …]."""
        self.next += 1
        distance = self.loop.charge(current)
        self.loop.fire_into(self.spikes)
        return distance

    def eligibility(self) -> Tensor:
        """g [samples, …]; it ends the loop."""
        return self.loop.finish()[1][0]


@dataclass
class _LayerNeurons:
    """What is seen of a neuron layer in a step; `half_peak` is half of its surrogate's largest slope."""

    half_peak: float
    uses: list[_Use] = field(default_factory=list)
    inside: Tensor | None = None
    membranes: int = 0

    def add(self, t: int, current: Tensor, timesteps: int, module: NeuronLayer) -> None:
        """Run timestep `t` for the currents [samples, …]."""
        use = self._use(t, current, timesteps, module)
        if use is None:  # the network branches in time, which the method refuses
            return
        distance = use.step(current)
        inside = torch.count_nonzero(slope(module.surrogate, distance) >= self.half_peak)
        self.inside = inside if self.inside is None else self.inside + inside
        self.membranes += distance.numel()

    def _use(self, t: int, current: Tensor, timesteps: int, module: NeuronLayer) -> _Use | None:
        """The pass that this timestep belongs to: a module that is used twice has two at each, in the same order.

        None if the module was used less often at the timestep before.
        """
        if t == 0:
            self.uses.append(_Use.of(module, current, timesteps))
            return self.uses[-1]
        return next((use for use in self.uses if use.next == t), None)

    def numbers(self, device: torch.device) -> Tensor:
        """The share of membranes inside the window, and quantiles of g, which are NaN for a layer without currents."""
        if self.inside is None:
            return torch.full((1 + len(ELIGIBILITY_QUANTILES),), math.nan, dtype=torch.float64, device=device)
        eligibility = torch.cat([_evenly(use.eligibility().flatten(), SORTED) for use in self.uses])
        share = self.inside.double() / self.membranes
        return torch.stack([share, *_quantiles(eligibility.double())])


def _evenly(values: Tensor, most: int) -> Tensor:
    """At most so many of the values [N]. An odd stride meets every channel and column of sizes that are powers of 2."""
    stride = -(-len(values) // most)
    return values if stride == 1 else values[:: stride | 1]


def _quantiles(values: Tensor) -> list[Tensor]:
    """ELIGIBILITY_QUANTILES of values [N], interpolated. torch.quantile would copy them to the device, and wait."""
    ordered = values.sort().values
    found = []
    for quantile in ELIGIBILITY_QUANTILES:
        place = quantile * (len(values) - 1)
        low = int(place)
        found.append(torch.lerp(ordered[low], ordered[min(low + 1, len(values) - 1)], place - low))
    return found


class HealthProbe(StepProbe):
    """Samples membranes, eligibilities, gradients and updates, every `every` steps.

    * `in_window`: the share of membranes u_t, at which spikes are decided, before the reset, whose slope σ'(u_t − V_th)
      is at least half of the surrogate's largest; over the first SAMPLES samples of each micro-batch, all neurons of a
      layer and all timesteps.
    * `eligibility`: quantiles of g = mean_t(σ'_t·ρ_t) (paper, equation 10) of the same neurons. The rate methods
      multiply gradients by it; for the others it is that of their membranes, so that methods can be compared.
    * `gradient_norm`: of each weight, as the optimizer sees it: after clipping, in fp16 without the scale.
    * `decay`, `threshold`: λ and V_th after the step, the mean over channels, where a layer of the network learns some.
    * `update_ratio`: ‖Δw‖/‖w‖ of the step, weight decay and momentum included; w is the weight before it.

    A number is None where there is none: for a layer that receives no carriers, a weight without a gradient, the
    gradients of a step that fp16 skips. With several processes the samples are those of this one. In a sampled step
    memory holds a second copy of the weights.
    """

    def __init__(self, neurons: Mapping[str, NeuronLayer], weights: Mapping[str, nn.Parameter], every: int) -> None:
        """Both by name, as of `neuron_layers` and `weight_layers`; there must be weights."""
        super().__init__(every)
        self._neurons = neurons
        self._weights = list(weights.values())
        self._half_peaks = [peak_slope(module.surrogate) / 2.0 for module in neurons.values()]
        self._seen: list[_LayerNeurons] = []
        self._before: list[Tensor] = []
        self._learns = any(isinstance(m, LIF) and any(m.neurons.learns) for m in neurons.values())
        # Steps, and their numbers [6·neuron layers + 2·weight layers + 2·neuron layers that may learn], which are still
        # on the device.
        self._sampled: list[tuple[int, Tensor]] = []

    @contextmanager
    def watch(self) -> Iterator[None]:
        self._seen = [_LayerNeurons(half_peak) for half_peak in self._half_peaks]
        self._before = [weight.detach().clone() for weight in self._weights]
        with ExitStack() as hooks:
            for module, layer in zip(self._neurons.values(), self._seen, strict=True):
                hooks.enter_context(module.register_forward_pre_hook(partial(_watch, layer)))
            yield

    @torch.no_grad()
    def measure(self, step: int) -> None:
        seen, self._seen = self._seen, []
        before, self._before = self._before, []
        device = self._weights[0].device
        neurons = [layer.numbers(device) for layer in seen]
        nothing = torch.full((), math.nan, device=device)
        gradients = [nothing if weight.grad is None else weight.grad for weight in self._weights]
        sizes = torch._foreach_norm(before, 2)
        torch._foreach_sub_(before, [weight.detach() for weight in self._weights])
        norms = [*torch._foreach_norm(gradients, 2), *torch._foreach_norm(before, 2), *sizes]
        gradient, update, size = torch.stack([norm.double() for norm in norms]).view(3, -1)
        self._sampled.append((step, torch.cat([*neurons, gradient, update / size, *self._learnt(device)])))

    def _learnt(self, device: torch.device) -> list[Tensor]:
        """λ of each neuron layer, then V_th, [1] each, NaN for a neuron of a user's own; none if all are fixed."""
        if not self._learns:
            return []
        both = [(m.decay, m.threshold) if isinstance(m, LIF) else (math.nan, math.nan) for m in self._neurons.values()]
        return [_mean(value, device) for values in zip(*both, strict=True) for value in values]

    def take(self) -> list[tuple[int, Body]]:
        sampled, self._sampled = self._sampled, []
        return [(step, self._event(numbers.tolist())) for step, numbers in sampled]

    def _event(self, numbers: list[float]) -> Health:
        count, width = len(self._neurons), 1 + len(ELIGIBILITY_QUANTILES)
        neurons, weights = numbers[: count * width], numbers[count * width :]
        by_layer = [[_short(number) for number in neurons[n * width : (n + 1) * width]] for n in range(count)]
        total = len(self._weights)
        gradients, updates = weights[:total], weights[total : 2 * total]
        values = [_short(number) for number in weights[2 * total :]]
        skipped = any(gradients) and not any(updates)
        return Health(
            in_window=[layer[0] for layer in by_layer],
            eligibility=[layer[1:] for layer in by_layer],
            gradient_norm=[None if skipped else _short(number) for number in gradients],
            update_ratio=[_short(number) for number in updates],
            decay=values[:count],
            threshold=values[count:],
        )


def _mean(value: Tensor | float, device: torch.device) -> Tensor:
    """[1], in float64."""
    if isinstance(value, Tensor):
        return value.detach().double().mean().view(1)
    return torch.full((1,), value, dtype=torch.float64, device=device)


def _short(number: float) -> float | None:
    return float(f"{number:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(number) else None


@torch.no_grad()
def _watch(seen: _LayerNeurons, module: NeuronLayer, inputs: tuple[Any, ...]) -> None:
    """A hook before a neuron layer."""
    carrier = inputs[0] if inputs else None
    if isinstance(carrier, Carrier):
        for t, current in carrier.currents_by_step(SAMPLES):
            seen.add(t, current, carrier.timesteps, module)
