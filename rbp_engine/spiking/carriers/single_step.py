"""Carriers of methods whose loop over time is outside the network: one timestep [B, …] at a time.

    StepTensor    the values of one timestep with their graph: single-step BPTT and SLTT
    TraceTensor   the same with the trace of the spikes, which the weights are trained on: OTTT

Membranes and dropout masks are kept in the `StepState` of a training step; nothing is kept in a module.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from rbp_engine.spiking.autograd.batch_norm import BatchNorm
from rbp_engine.spiking.autograd.grad_proxy import WithValue
from rbp_engine.spiking.autograd.nonlinear import Nonlinear
from rbp_engine.spiking.autograd.weighted import WeightInput, weighted_gradient
from rbp_engine.spiking.carrier import all_carriers, is_plain_sum, replace_carriers
from rbp_engine.spiking.carriers.step_state import StepState, TimestepCarrier
from rbp_engine.spiking.kernels.neurons import Neurons


@dataclass
class Membrane:
    """What a neuron layer carries to the next timestep; None at the first."""

    state: Any = None


class StepTensor(TimestepCarrier):
    """Values [B, …] of one timestep.

    With `through_time` the membrane keeps its graph from step to step (BPTT); without it the gradient is spatial
    only (SLTT). A sum of two is left to the next neuron; every other operation carries it out first.
    """

    def __init__(self, values: Tensor, state: StepState, through_time: bool) -> None:
        self._terms: tuple[Tensor, ...] = (values,)
        self.state = state
        self.through_time = through_time
        self.timesteps = state.timesteps

    @property
    def like(self) -> Tensor:
        return self._terms[0]

    def values(self) -> Tensor:
        if len(self._terms) > 1:
            with torch.enable_grad():  # as when the sum was formed
                self._terms = (operator.add(*self._terms),)
        return self._terms[0]

    def resolve(self) -> Tensor:
        return self.values()

    def with_values(self, values: Tensor) -> Self:
        """Other values of the same timestep."""
        return type(self)(values, self.state, self.through_time)

    def currents_by_step(self, samples: int) -> Iterable[tuple[int, Tensor]]:
        first, *others = (term[:samples] for term in self._terms)
        return [(self.state.step, sum(others, start=first))]

    def fire(self, neurons: Neurons) -> Self:
        return self.with_values(self._fired(neurons, traced=False)[0])

    def _fired(self, neurons: Neurons, *, traced: bool) -> tuple[Tensor, Tensor | None]:
        """Spikes [B, …], and their trace if `traced`."""
        membrane = self.state.record(Membrane, Membrane)
        spikes, membrane.state, trace = neurons.once(
            self._terms, membrane.state, through_time=self.through_time, traced=traced
        )
        return spikes, trace

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        first: Self = next(iter(all_carriers(args)))
        return first.with_values(function(*replace_carriers(args, lambda x: x.values()), **kwargs))

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        if not torch.is_grad_enabled() or not is_plain_sum(function, args, kwargs):
            return cls.per_step(function, args, kwargs)
        left, right = args
        out: Self = left.with_values(left.values())
        out._terms = (left.values(), right.values())
        return out

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        return x.with_values(norm(x.values()))


class TraceTensor(StepTensor):
    """Spikes [B, …] of one timestep and their trace; None where no neuron has fired yet, or after a weighted layer."""

    def __init__(
        self, values: Tensor, state: StepState, through_time: bool = False, trace: Tensor | None = None
    ) -> None:
        super().__init__(values, state, through_time)
        self.trace = trace

    def fire(self, neurons: Neurons) -> Self:
        spikes, trace = self._fired(neurons, traced=True)
        return type(self)(spikes, self.state, trace=trace)

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        out = super().per_step(function, args, kwargs)
        if all(carrier.trace is not None for carrier in all_carriers(args)):
            with torch.no_grad():
                out.trace = function(*replace_carriers(args, lambda x: x.trace), **kwargs)
        return out

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        """A sum that has a trace is carried out at once, with the trace's."""
        traced = all(carrier.trace is not None for carrier in all_carriers(args))
        return cls.per_step(function, args, kwargs) if traced else super().elementwise(function, args, **kwargs)

    @classmethod
    def bilinear(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """Without a trace: that of a product is not the product of the traces."""
        return super().per_step(function, args, kwargs)

    @classmethod
    def nonlinear(cls, x: Self, operation: Nonlinear) -> Self:
        """Without a trace, for the same reason."""
        return super().per_step(operation, (x,), {})

    @classmethod
    def weighted(cls, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Self:
        x: Self = args[0]
        if x.trace is None:
            return x.with_values(function(x.values(), *args[1:], **kwargs))
        with torch.no_grad():
            value = function(x.values(), *args[1:], **kwargs)
        grad_proxy = weighted_gradient(function.__name__, args[1:], kwargs)(x.values(), WeightInput(x.trace), value)
        return x.with_values(WithValue.apply(grad_proxy, value))

    @classmethod
    def linear(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        x: Self = next(iter(all_carriers(args)))
        if x.trace is None or not any(isinstance(arg, Tensor) and arg.requires_grad for arg in args):
            return cls.per_step(function, args, kwargs)
        fixed = tuple(arg.detach() if isinstance(arg, Tensor) else arg for arg in args)
        at_spikes = function(*replace_carriers(fixed, lambda x: x.values()), **kwargs)
        at_trace = function(*replace_carriers(args, lambda x: x.trace), **kwargs)
        return x.with_values(WithValue.apply(at_spikes + at_trace, at_spikes.detach()))
