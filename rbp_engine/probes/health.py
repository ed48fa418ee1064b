"""Whether a network can learn: where its membranes are, how large its eligibilities, gradients and updates are.

Training keeps no membranes. On a sampled step the neurons of a few samples are run once more, from the currents that
they receive, as the rate methods run them. The steps between have no additional operation, and nothing waits for the
device before the results are fetched.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rbp_engine.probes.layers import NeuronLayer, hooked
from rbp_engine.probes.step_probe import StepProbe
from rbp_engine.run.files.events import ELIGIBILITY_QUANTILES, Health
from rbp_engine.spiking import LIF
from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.neuron_protocol import RateLoop
from rbp_engine.spiking.surrogate import peak_slope, slope

#: Samples whose neurons are run once more, of each micro-batch: a layer has thousands of membranes in each.
SAMPLES = 8
#: Values that quantiles are taken of, evenly spaced where there are more: a sort of them costs more than all the rest.
SORTED = 2**16
#: Of a number in an event.
SIGNIFICANT_DIGITS = 6
#: Numbers of a neuron layer: a share, and quantiles.
WIDTH = 1 + len(ELIGIBILITY_QUANTILES)


@dataclass
class _Use:
    """A pass of some samples through a neuron layer, and the timestep that comes next."""

    loop: RateLoop
    next: int = 0


@dataclass
class _LayerNeurons:
    """What a step shows of a neuron layer: how many of its membranes were inside the window each time, and how many
    there were; `half_peak` is half of its surrogate's largest slope.
    """

    half_peak: float
    uses: list[_Use] = field(default_factory=list)
    inside: list[Tensor] = field(default_factory=list)
    membranes: int = 0

    def add(self, t: int, current: Tensor, timesteps: int, module: NeuronLayer) -> None:
        """Run timestep `t` for the currents [samples, …]."""
        if t == 0:
            like = Current.of(current.unsqueeze(0))
            self.uses.append(_Use(module.neurons_for(current).rate_loop(like, timesteps)))
        # A module that is used twice has two passes at each timestep, in the same order.
        use = next((use for use in self.uses if use.next == t), None)
        if use is not None:  # else the network branches in time, which the method refuses
            use.next += 1
            distance = use.loop.observed(current).distance
            self.inside.append(torch.count_nonzero(slope(module.surrogate, distance) >= self.half_peak))
            self.membranes += distance.numel()

    def numbers(self, device: torch.device) -> Tensor:
        """The share of membranes inside the window, and quantiles of g, which are NaN for a layer without currents."""
        if not self.inside:
            return torch.full((WIDTH,), math.nan, dtype=torch.float64, device=device)
        eligibilities = (use.loop.finish()[1][0] for use in self.uses)  # g [samples, …]
        eligibility = torch.cat([_evenly(values.flatten(), SORTED) for values in eligibilities])
        share = torch.stack(self.inside).sum().double() / self.membranes
        return torch.stack([share, *_quantiles(eligibility.double())])


def _evenly(values: Tensor, most: int) -> Tensor:
    """At most so many of the values [N]. An odd stride meets every channel and column of sizes that are powers of 2."""
    stride = -(-len(values) // most)
    return values if stride == 1 else values[:: stride | 1]


def _quantiles(values: Tensor) -> list[Tensor]:
    """ELIGIBILITY_QUANTILES of values [N], interpolated. torch.quantile would copy them to the device, and wait."""
    ordered, last = values.sort().values, len(values) - 1
    places = [quantile * last for quantile in ELIGIBILITY_QUANTILES]
    return [torch.lerp(ordered[int(at)], ordered[min(int(at) + 1, last)], at - int(at)) for at in places]


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
        """Both by name, as from `neuron_layers` and `weight_layers`; there must be weights."""
        super().__init__(every)
        self._neurons = neurons
        self._weights = list(weights.values())
        self._half_peaks = [peak_slope(module.surrogate) / 2.0 for module in neurons.values()]
        self._seen: list[_LayerNeurons] = []
        self._before: list[Tensor] = []

    @contextmanager
    def watch(self) -> Iterator[None]:
        self._seen = [_LayerNeurons(half_peak) for half_peak in self._half_peaks]
        self._before = [weight.detach().clone() for weight in self._weights]
        pairs = zip(self._neurons.values(), self._seen, strict=True)
        with hooked(layer.register_forward_pre_hook(partial(_watch, seen)) for layer, seen in pairs):
            yield

    @torch.no_grad()
    def measure(self, step: int) -> None:
        seen, before = self._seen, self._before
        self._seen, self._before = [], []
        device = self._weights[0].device
        nothing = torch.full((), math.nan, device=device)
        gradients = [nothing if weight.grad is None else weight.grad for weight in self._weights]
        sizes = torch._foreach_norm(before, 2)
        torch._foreach_sub_(before, [weight.detach() for weight in self._weights])
        norms = [*torch._foreach_norm(gradients, 2), *torch._foreach_norm(before, 2), *sizes]
        gradient, update, size = torch.stack([norm.double() for norm in norms]).view(3, -1)
        neurons = [layer.numbers(device) for layer in seen]
        # [WIDTH·neuron layers + 2·weight layers + 2·neuron layers that may learn]
        numbers = torch.cat([*neurons, gradient, update / size, *self._learnt(device)])
        self.keep(step, lambda: [self._event(numbers)])

    def _learnt(self, device: torch.device) -> list[Tensor]:
        """λ of each neuron layer, then V_th, [1] each, NaN for a neuron of a user's own; none if all are fixed."""
        neurons = self._neurons.values()
        if not any(isinstance(m, LIF) and any(m.neurons.learns) for m in neurons):
            return []
        both = [(m.decay, m.threshold) if isinstance(m, LIF) else (math.nan, math.nan) for m in neurons]
        return [_mean(value, device) for values in zip(*both, strict=True) for value in values]

    def _event(self, numbers: Tensor) -> Health:
        layers, weights = len(self._neurons), len(self._weights)
        widths = [WIDTH * layers, weights, weights]
        neurons, gradients, updates, learnt = numbers.cpu().split([*widths, len(numbers) - sum(widths)])
        by_layer = [_short(layer) for layer in neurons.view(layers, WIDTH)]
        skipped = gradients.any() and not updates.any()
        return Health(
            in_window=[layer[0] for layer in by_layer],
            eligibility=[layer[1:] for layer in by_layer],
            gradient_norm=[None] * weights if skipped else _short(gradients),
            update_ratio=_short(updates),
            decay=_short(learnt[:layers]),
            threshold=_short(learnt[layers:]),
        )


def _mean(value: Tensor | float, device: torch.device) -> Tensor:
    """[1], in float64."""
    if isinstance(value, Tensor):
        return value.detach().double().mean().view(1)
    return torch.full((1,), value, dtype=torch.float64, device=device)


def _short(numbers: Tensor) -> list[float | None]:
    """None for what is not finite."""
    return [float(f"{number:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(number) else None for number in numbers.tolist()]


@torch.no_grad()
def _watch(seen: _LayerNeurons, module: NeuronLayer, inputs: tuple[Any, ...]) -> None:
    """A hook before a neuron layer."""
    carrier = inputs[0] if inputs else None
    if isinstance(carrier, Carrier):
        for t, current in carrier.by_step(SAMPLES):
            seen.add(t, current, carrier.timesteps, module)
