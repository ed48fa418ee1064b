"""A layer of user-defined neurons (`spiking/own_neuron.py`), and its loops over time; LIF's are in `layers/lif.py`.

Its functions run as torch runs them, one timestep after the other, on float32 at least.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from rbp_engine.errors import NeuronError
from rbp_engine.spiking.fusion import Current, CurrentReader, ObservedStep, RatePass, count_dtype, membrane_dtype
from rbp_engine.spiking.steps import Steps, empty_steps
from rbp_engine.spiking.surrogate import Spike, Surrogate


class Timestep(NamedTuple):
    """What a neuron layer does at one timestep: its spikes and their distance from the threshold, both [B, …], and the
    state for the next timestep.
    """

    spikes: Tensor
    distance: Tensor
    state: Any


class OwnTimestep(Protocol):
    """What the loops take of an `OwnNeuron`."""

    surrogate: Surrogate
    trace_decay: float | None

    @property
    def learnable(self) -> dict[str, nn.Parameter]: ...
    def start(self, current: Tensor) -> Any: ...
    def timestep(self, state: Any, current: Tensor, spike: Callable[[Tensor], Tensor] | None = None) -> Timestep: ...


class OwnMembrane(NamedTuple):
    """What a layer carries to the next timestep: its state, one tensor or a tuple of several, and OTTT's trace."""

    state: Any
    trace: Tensor | None


@dataclass(frozen=True)
class OwnNeurons:
    """A layer of user-defined neurons (`spiking/fusion.py`: `Neurons`)."""

    neuron: OwnTimestep

    @property
    def learnt(self) -> tuple[Tensor, ...]:
        return tuple(self.neuron.learnable.values())

    @torch.no_grad()
    def spikes_only(self, current: Tensor | Current) -> Tensor:
        current = Current.of(current)
        spikes_TBX, state = empty_steps(current.like, current.timesteps), self.neuron.start(current.like)
        for spikes_t, current_t in zip(spikes_TBX, _currents(current), strict=True):
            step = self.neuron.timestep(state, current_t)
            spikes_t.copy_(step.spikes)
            state = step.state
        return spikes_TBX

    @torch.no_grad()
    def rate(self, current: Tensor | Current) -> RatePass:
        current = Current.of(current)
        loop = self.rate_loop(current, current.timesteps)
        spikes = empty_steps(current.like, current.timesteps, torch.uint8)
        for spikes_t, current_t in zip(spikes, _currents(current), strict=True):
            spikes_t.copy_(loop.observed(current_t).spikes)
        normalised = [term.steps for term in current.terms if term.normalisation]
        return RatePass(spikes, *loop.finish(), [_time_mean(steps, current.timesteps) for steps in normalised])

    def rate_loop(self, like: Current, timesteps: int) -> OwnRateLoop:
        return OwnRateLoop(like.like, timesteps, self.neuron)

    def gradient_through_time(self, current: Tensor | Current, grad: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The timesteps run once more, with their graph."""
        current = Current.of(current)
        with torch.no_grad():
            currents = [current_t.requires_grad_() for current_t in _currents(current)]
        with torch.enable_grad():
            one_timestep, state, spikes = _WithParameters(self.neuron), self.neuron.start(current.like), []
            for current_t in currents:
                step = one_timestep(state, current_t)
                spikes.append(step.spikes)
                state = step.state
            sources, gradients = [*currents, *self.learnt], grad.to(spikes[0].dtype).unbind(0)
            found = torch.autograd.grad(spikes, sources, gradients, materialize_grads=True)
        return torch.stack(found[: len(currents)]).to(grad.dtype), list(found[len(currents) :])

    def once(
        self, current: Sequence[Tensor], before: OwnMembrane | None, *, through_time: bool, traced: bool
    ) -> tuple[Tensor, OwnMembrane, Tensor | None]:
        """Raises NeuronError if a trace is wanted of a neuron that has none."""
        neuron, decay = self.neuron, self.neuron.trace_decay
        if traced and decay is None:
            raise NeuronError(
                f"{type(neuron).__name__} has no trace_decay, the λ of the trace a_t = λ·a_{{t−1}} + s_t with which "
                "OTTT trains the weights behind a neuron: set it to the share of its membrane that a timestep keeps, "
                "or use another method (rate_m, rate_s, bptt, bptt_s, sltt)"
            )
        total = functools.reduce(operator.add, current)
        if before is None:
            state, trace = neuron.start(total), None  # its parameters are trained, through time or not
        else:
            state, trace = before.state if through_time else map_state(Tensor.detach, before.state), before.trace
        step = neuron.timestep(state, total.to(membrane_dtype(total.dtype)))
        spikes = step.spikes.to(total.dtype)
        if decay is not None and traced:
            fired = spikes.detach()
            trace = fired if trace is None else decay * trace + fired
        return spikes, OwnMembrane(step.state, trace), trace


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
    (`torch.func.jvp`), so that memory does not grow with T. For a current that is added at every timestep LIF's ẋ is
    ∂v_t/∂u_t·ρ_t. `detach` stops a derivative as it stops a gradient.
    """

    def __init__(self, current: Tensor, timesteps: int, neuron: OwnTimestep) -> None:
        """`current` [B, …] gives shape, type and device; the loop starts at rest."""
        self._neuron, self._timesteps, self._dtype = neuron, timesteps, current.dtype
        self._state = neuron.start(current)
        self._counts = torch.zeros_like(current, dtype=count_dtype(timesteps))
        nothing = torch.zeros_like(current, dtype=membrane_dtype(current.dtype))
        self._derivatives = [
            _Derivative(name, derivative_at_rest(neuron, current, name), nothing.clone())
            for name in (None, *neuron.learnable)
        ]

    def step(self, current: Current) -> Tensor:
        return self.observed(next(_currents(current))).spikes.to(self._dtype)

    @torch.no_grad()
    def observed(self, current: Tensor) -> ObservedStep:
        current, by_each = current.to(membrane_dtype(current.dtype)), []
        for one in self._derivatives:
            step, derivative = forward_mode(self._neuron, self._state, current, one.of_state, one.parameter)
            one.of_state = derivative.state
            one.of_spikes.add_(derivative.spikes)
            by_each.append(derivative.spikes)
        self._state = step.state
        self._counts.add_(step.spikes.to(self._counts.dtype))
        return ObservedStep(step.spikes, step.distance, by_each[0])

    def finish(self) -> tuple[Tensor, list[Tensor]]:
        return self._counts, [one.of_spikes.div_(self._timesteps).to(self._dtype) for one in self._derivatives]


def forward_mode(
    neuron: OwnTimestep, state: Any, current: Tensor, of_state: Any, parameter: str | None = None
) -> tuple[Timestep, Timestep]:
    """One timestep, and the derivatives of all that it gives by a parameter, or by the current if that is None.

    `of_state` is the derivative of the state by the same.
    """
    learnable, by_parameters = _parameters_and_directions(neuron, parameter)
    by_current = torch.ones_like(current) if parameter is None else torch.zeros_like(current)
    values, directions = (learnable, state, current), (by_parameters, of_state, by_current)
    step, derivative = jvp(partial(_run, neuron), values, directions)  # type: ignore[misc]  # no third of aux
    return Timestep(*step), Timestep(*derivative)


def derivative_at_rest(neuron: OwnTimestep, current: Tensor, parameter: str | None) -> Any:
    """The derivative of the state before the first timestep by a parameter, which may be part of it."""
    learnable, by_parameters = _parameters_and_directions(neuron, parameter)
    values, directions = (learnable, current), (by_parameters, torch.zeros_like(current))
    _, derivative = jvp(lambda own, like: _run(neuron, own, None, like), values, directions)  # type: ignore[misc]
    return derivative


def _parameters_and_directions(
    neuron: OwnTimestep, parameter: str | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """All parameters, and the direction in which one of them grows; 0 for None."""
    learnable = {name: tensor.detach() for name, tensor in neuron.learnable.items()}
    along = {name: torch.full_like(tensor, float(name == parameter)) for name, tensor in learnable.items()}
    return learnable, along


class _WithParameters(nn.Module):
    """A neuron that `functional_call` can run with other parameters: a timestep, or without a state that at rest."""

    def __init__(self, neuron: OwnTimestep) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, state: Any, current: Tensor) -> Any:
        return self.neuron.start(current) if state is None else self.neuron.timestep(state, current, self.spike)

    def spike(self, distance: Tensor) -> Tensor:
        spikes: Tensor = Spike.apply(distance, self.neuron.surrogate)
        return spikes


def _run(neuron: OwnTimestep, parameters: dict[str, Tensor], state: Any, current: Tensor) -> Any:
    """A timestep, or without a state that at rest, with these parameters."""
    named = {f"neuron.{name}": tensor for name, tensor in parameters.items()}
    return functional_call(_WithParameters(neuron), named, (state, current))


def _time_mean(steps: Steps, timesteps: int) -> Tensor:
    """[B, …], added up in the order of `loops.rate`."""
    if steps.mean_is_known:
        return steps.time_mean()
    total = torch.zeros_like(steps.at(0), dtype=membrane_dtype(steps.dtype))
    for t in range(timesteps):
        total.add_(steps.at(t))
    return total.div_(timesteps).to(steps.dtype)


def _currents(current: Current) -> Iterator[Tensor]:
    """The currents [B, …] of one timestep after the other, float32 at least; each is a tensor of its own."""
    reader = CurrentReader(current)
    return (reader.at(t).detach().clone() for t in range(current.timesteps))


def tensors_of(state: Any) -> list[Tensor]:
    """The tensors of a state: itself, or those of a tuple. Raises NeuronError for anything else."""
    found = list(state) if isinstance(state, tuple) else [state]
    if not found or not all(isinstance(tensor, Tensor) for tensor in found):
        raise NeuronError(f"its state is {kind_of(state)}; a state is one tensor [B, …], or a NamedTuple of several")
    return found


def map_state(function: Callable[[Tensor], Tensor], state: Any) -> Any:
    """A state of the same kind, with the function of each tensor."""
    found = list(map(function, tensors_of(state)))
    if isinstance(state, Tensor):
        return found[0]
    return type(state)(*found) if hasattr(state, "_fields") else tuple(found)


def kind_of(value: Any) -> str:
    """What it is, for messages: type and shape of a tensor, the type of anything else."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple) else type(value).__name__
