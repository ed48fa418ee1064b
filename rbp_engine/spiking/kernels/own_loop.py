"""The loops over time of a neuron of one's own (`spiking/own_neuron.py`); those of LIF are in `kernels/lif.py`.

Its functions run as torch runs them, one timestep after the other, on float32 at least.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from rbp_engine.spiking.kernels.neuron_input import Current, CurrentReader, count_dtype, membrane_dtype
from rbp_engine.spiking.kernels.steps import Steps, empty_steps
from rbp_engine.spiking.own_neuron import OwnNeuron, Timestep
from rbp_engine.spiking.own_neuron_check import map_state
from rbp_engine.spiking.surrogate import Spike

# Forward-mode derivatives have one stack of levels for all threads of a process.
_FORWARD_MODE = Lock()


@torch.no_grad()
def spikes_only(current: Tensor | Current, neuron: OwnNeuron[Any]) -> Tensor:
    """Spikes [T, B, …] for input currents [T, B, …], from rest, without a graph."""
    current = Current.of(current)
    spikes_TBX, state = empty_steps(current.batch, current.timesteps), neuron.start(current.batch)
    for spikes_t, current_t in zip(spikes_TBX, _currents(current), strict=True):
        step = neuron.timestep(state, current_t)
        spikes_t.copy_(step.spikes)
        state = step.state
    return spikes_TBX


class OwnRatePass(NamedTuple):
    """What the rate methods keep of the loop over a layer."""

    spikes: Tensor
    """Bytes [T, B, …]."""
    counts: Tensor
    """The number of spikes, [B, …]."""
    derivatives: list[Tensor]
    """Of the rate r, [B, …] each: g, that by a current at every timestep, then those by the learnable parameters."""
    means: list[Tensor]
    """The time means [B, …] of the terms that a batch norm is applied to, before it."""


@torch.no_grad()
def rate(current: Current, neuron: OwnNeuron[Any]) -> OwnRatePass:
    """Spikes, counts and derivatives for input currents [T, B, …], from rest."""
    loop = OwnRateLoop(current.batch, current.timesteps, neuron)
    spikes = empty_steps(current.batch, current.timesteps, torch.uint8)
    for spikes_t, current_t in zip(spikes, _currents(current), strict=True):
        loop.step_into(spikes_t, current_t)
    normalised = [term.steps for term in current.terms if term.normalisation]
    return OwnRatePass(spikes, *loop.finish(), [_time_mean(steps, current.timesteps) for steps in normalised])


@dataclass
class _Derivative:
    """The derivative of state and spikes by one number: by a current at every timestep, or by a parameter."""

    parameter: str | None
    of_state: Any
    of_spikes: Tensor  # the sum over the timesteps so far, [B, …]


class OwnRateLoop:
    """The loop of the rate methods, step by step: spikes, and the derivatives of their time mean.

    A derivative goes forward in time with the state: ẋ_t = ∂x_t/∂x_{t−1}·ẋ_{t−1} + ∂x_t/∂θ for a state x of any
    number of tensors, and ∂r/∂θ = mean_t σ'_t·ḋ_t with the distance d. Torch takes it along with the values
    (`torch.func.jvp`), so that memory does not grow with T. For LIF and a current that is added at every timestep ẋ is
    ρ. `detach` stops a derivative as it stops a gradient.
    """

    def __init__(self, current: Tensor, timesteps: int, neuron: OwnNeuron[Any]) -> None:
        """`current` [B, …] gives shape, type and device; the loop starts at rest."""
        self._neuron, self._timesteps, self._dtype = neuron, timesteps, current.dtype
        self._state = neuron.start(current)
        self.distance = torch.zeros_like(current, dtype=membrane_dtype(current.dtype))
        self._counts = torch.zeros_like(current, dtype=count_dtype(timesteps))
        self._derivatives = [
            _Derivative(name, map_state(torch.zeros_like, self._state), torch.zeros_like(self.distance))
            for name in (None, *neuron.learnable)
        ]

    def step(self, current: Current) -> Tensor:
        """Spikes [B, …] of the next timestep, for a `Current` of one timestep."""
        return self.step_into(torch.empty_like(self.distance, dtype=self._dtype), next(_currents(current)))

    @torch.no_grad()
    def step_into(self, spikes: Tensor, current: Tensor) -> Tensor:
        """Spikes of the next timestep for a current [B, …], written into `spikes`; `distance` is then that of it."""
        current = current.to(self.distance.dtype)
        for one in self._derivatives:
            step, derivative = forward_mode(self._neuron, self._state, current, one.of_state, one.parameter)
            one.of_state = derivative.state
            one.of_spikes.add_(derivative.spikes)
        self._state, self.distance = step.state, step.distance
        self._counts.add_(step.spikes.to(self._counts.dtype))
        return spikes.copy_(step.spikes)

    def finish(self) -> tuple[Tensor, list[Tensor]]:
        """Counts of spikes and derivatives of the rate, [B, …] each; it overwrites the sums, so it is called once."""
        return self._counts, [one.of_spikes.div_(self._timesteps).to(self._dtype) for one in self._derivatives]


def forward_mode(
    neuron: OwnNeuron[Any], state: Any, current: Tensor, of_state: Any, parameter: str | None = None
) -> tuple[Timestep, Timestep]:
    """One timestep, and the derivatives of all that it gives by a parameter, or by the current if that is None.

    `of_state` is the derivative of the state by the same.
    """
    learnable = {name: tensor.detach() for name, tensor in neuron.learnable.items()}
    by_parameters = {
        name: torch.ones_like(tensor) if name == parameter else torch.zeros_like(tensor)
        for name, tensor in learnable.items()
    }
    by_current = torch.ones_like(current) if parameter is None else torch.zeros_like(current)
    values, directions = (learnable, state, current), (by_parameters, of_state, by_current)
    with _FORWARD_MODE:
        step, derivative = jvp(partial(_timestep, neuron), values, directions)  # type: ignore[misc]  # no third of aux
    return Timestep(*step), Timestep(*derivative)


class _WithParameters(nn.Module):
    """A neuron whose timestep `functional_call` can run with other parameters."""

    def __init__(self, neuron: OwnNeuron[Any]) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, state: Any, current: Tensor) -> Timestep:
        return self.neuron.timestep(state, current, self.spike)

    def spike(self, distance: Tensor) -> Tensor:
        spikes: Tensor = Spike.apply(distance, self.neuron.surrogate)
        return spikes


def _timestep(neuron: OwnNeuron[Any], parameters: dict[str, Tensor], state: Any, current: Tensor) -> Any:
    named = {f"neuron.{name}": tensor for name, tensor in parameters.items()}
    return functional_call(_WithParameters(neuron), named, (state, current))


@torch.no_grad()
def eligibility_terms(current: Current, neuron: OwnNeuron[Any]) -> Iterator[Tensor]:
    """The terms [B, …] whose time mean is the eligibility g, t = 1 … T, from rest. See `lif.eligibility_terms`."""
    state = neuron.start(current.batch)
    of_state = map_state(torch.zeros_like, state)
    for current_t in _currents(current):
        step, derivative = forward_mode(neuron, state, current_t, of_state)
        state, of_state = step.state, derivative.state
        yield derivative.spikes


def gradient_through_time(
    current: Tensor | Current, grad_TBX: Tensor, neuron: OwnNeuron[Any]
) -> tuple[Tensor, list[Tensor]]:
    """∂L/∂I [T, B, …] of BPTT, and ∂L/∂θ of the learnable parameters, for ∂L/∂s = `grad_TBX` [T, B, …].

    The timesteps run once more, with their graph.
    """
    current = Current.of(current)
    with torch.no_grad():
        currents = [current_t.requires_grad_() for current_t in _currents(current)]
    with torch.enable_grad():
        one_timestep, state, spikes = _WithParameters(neuron), neuron.start(current.batch), []
        for current_t in currents:
            step = one_timestep(state, current_t)
            spikes.append(step.spikes)
            state = step.state
        sources, gradients = [*currents, *neuron.learnable.values()], grad_TBX.to(spikes[0].dtype).unbind(0)
        found = torch.autograd.grad(spikes, sources, gradients, materialize_grads=True)
    return torch.stack(found[: len(currents)]).to(grad_TBX.dtype), list(found[len(currents) :])


def _time_mean(steps: Steps, timesteps: int) -> Tensor:
    """[B, …], added up in the order of `lif.rate`."""
    if steps.mean_is_known:
        return steps.time_mean()
    total = torch.zeros_like(steps.at(0), dtype=membrane_dtype(steps.dtype))
    for t in range(timesteps):
        total.add_(steps.at(t))
    return total.div_(timesteps).to(steps.dtype)


def _currents(current: Current) -> Iterator[Tensor]:
    """The currents [B, …] of one timestep after the other, float32 at least; each is a tensor of its own."""
    reader, dtype = CurrentReader(current), membrane_dtype(current.batch.dtype)
    return (reader.at(t).detach().to(dtype, copy=True) for t in range(current.timesteps))
