"""Carriers of all timesteps at once, which leave batch norms and sums to the next neuron (`spiking/current.py`).

SequenceTensor    with their graph: multi-step BPTT, and evaluation
RateTensor        without a graph, and the gradient of their time mean: rate_M
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Self

import torch
from torch import Tensor

from rbp_engine.spiking import firing
from rbp_engine.spiking.batch_norm import BatchNorm
from rbp_engine.spiking.current import Current, CurrentReader, Term
from rbp_engine.spiking.fusion import is_fused
from rbp_engine.spiking.linear import Linear, at_all_steps, layer_gradient
from rbp_engine.spiking.neuron_protocol import Neurons
from rbp_engine.spiking.nonlinear import Nonlinear
from rbp_engine.spiking.rules.rule_table import TensorLike
from rbp_engine.spiking.steps import Dense, Spikes, Steps


class DeferredSum(TensorLike):
    """A carrier of a `Current`. A neuron takes it as it is; every other operation calls `resolve()` first."""

    def __init__(self, current: Current) -> None:
        self.current = current
        self.timesteps = current.length

    @property
    def like(self) -> Tensor:
        return self.current.like

    @property
    def shape(self) -> torch.Size:
        return self.current.shape

    def by_step(self, samples: int | None = None) -> Iterable[tuple[int, Tensor]]:
        reader = CurrentReader(self.current.first(samples))
        return ((t, reader.at(t)) for t in range(self.current.length))

    def resolve(self) -> Steps:
        """Compute what is deferred, once: the carrier keeps the result, with the graph that it was deferred with."""
        if self.current.deferred:
            with torch.set_grad_enabled(any(term.with_graph for term in self.current.terms)):
                self.current = Current([Term(self._compute())], self.current.length)
        return self.current.terms[0].steps

    def left_to_neurons(self) -> Self:
        """This carrier, whose batch norm the next neuron layer computes; without fusion it is computed now."""
        if not is_fused():
            self.resolve()
        return self

    @abstractmethod
    def _compute(self) -> Steps:
        """The value of the deferred sum."""


def deferred_terms(operation: Linear, inputs: Sequence[DeferredSum]) -> list[Term] | None:
    """The terms of a sum of two carriers that the next neuron can compute; None for what has to be computed now.

    An argument that is already a sum is resolved, so that a long chain of additions does not keep every term alive. A
    sum of two values with nothing deferred is computed now: torch adds them in one pass.
    """
    if not is_fused() or not operation.is_plain_sum(inputs) or not any(x.current.deferred for x in inputs):
        return None
    single = (x.current.terms if len(x.current.terms) == 1 else [Term(x.resolve())] for x in inputs)
    return list(chain.from_iterable(single))


class SequenceTensor(DeferredSum):
    """A sequence [T, B, …] with its graph.

    A sequence that is the same at every step (a static image before the first neuron) is kept once, as [B, …], and
    whatever comes before the first neuron costs one timestep instead of T.
    """

    def _compute(self) -> Steps:
        return Dense(self.current.compute())

    def values(self) -> Tensor:
        """[T, B, …], or [B, …] if static."""
        return self.resolve().values()

    def steps(self) -> Tensor:
        """[T, B, …]; a static sequence is expanded without a copy."""
        values = self.values()
        return values.expand(self.timesteps, *values.shape) if self.current.static else values

    def time_mean(self) -> Tensor:
        """[B, …]."""
        return self.resolve().time_mean()

    def fire(self, neurons: Neurons) -> Self:
        return type(self)(Current.of(firing.spikes_through_time(self.current, neurons)))

    @classmethod
    def linear(cls, operation: Linear, inputs: Sequence[Self]) -> Self:
        terms = deferred_terms(operation, inputs)
        if terms is not None:
            return cls(Current(terms, inputs[0].timesteps))
        return cls._computed(operation, inputs)

    @classmethod
    def nonlinear(cls, operation: Nonlinear, inputs: Sequence[Self]) -> Self:
        return cls._computed(operation, inputs)

    @classmethod
    def _computed(cls, operation: Linear | Nonlinear, inputs: Sequence[Self]) -> Self:
        timesteps = inputs[0].timesteps
        if all(x.current.static for x in inputs):
            return cls(Current.constant(operation(*(x.values() for x in inputs)), timesteps))
        steps = [x.resolve() for x in inputs]
        return cls(Current.of(at_all_steps(operation, operation.over, steps, timesteps)))

    def batch_norm(self, norm: BatchNorm) -> Self:
        if self.current.static:
            values = norm.static(self.values(), self.timesteps) if norm.training else norm(self.values())
            return type(self)(Current.constant(values, self.timesteps))
        normalisation = norm.statistics(self.values().flatten(0, 1)) if norm.training else norm.running()
        return type(self)(Current([Term(self.resolve(), normalisation)], self.timesteps)).left_to_neurons()


class RateTensor(DeferredSum):
    """A sequence [T, B, …] without a graph, and its time mean r [B, …] with its gradient (rate_M).

    One pass through the network builds both, and the backward pass is that of a network without time (paper,
    section 4). Until the first neuron a static image is its own mean.

    The sequence's steps hold a gradient proxy of their mean; convolutions and neurons need no more. `rate()` joins it
    with the value of the mean.
    """

    @classmethod
    def static(cls, values: Tensor, timesteps: int) -> Self:
        """Values [B, …] with their graph that are the same at every step."""
        return cls(Current.constant(values.detach(), timesteps, values))

    def _compute(self) -> Steps:
        rate = self.current.rate()
        with torch.no_grad():
            return Dense(self.current.compute(), rate.detach(), grad_proxy=rate)

    def rate(self) -> Tensor:
        """The time mean [B, …] with its gradient."""
        return self.resolve().rate()

    def fire(self, neurons: Neurons) -> Self:
        spikes, counts, derivatives, means = neurons.rate(self.current)
        grad_proxy = firing.rate_proxy(self.current.terms, means, derivatives, neurons.learnt)
        return type(self)(Current([Term(Spikes(spikes, counts, self.dtype, grad_proxy=grad_proxy))], self.timesteps))

    @classmethod
    def linear(cls, operation: Linear, inputs: Sequence[Self]) -> Self:
        timesteps, terms = inputs[0].timesteps, deferred_terms(operation, inputs)
        if terms is not None:
            return cls(Current(terms, timesteps))
        if all(x.current.static for x in inputs):
            return cls.static(operation(*(x.rate() for x in inputs)), timesteps)
        steps = [x.resolve() for x in inputs]
        if operation.moves and len(steps) == 1:
            return cls(Current([Term(steps[0].moved(operation))], timesteps))
        with torch.no_grad():
            values = at_all_steps(operation, operation.over, steps, timesteps)
        if operation.weights == "layer":
            out = Dense(values, grad_proxy=layer_gradient(operation.call, steps[0], values[0]))
        else:
            rate = operation(*(x.rate() for x in steps))
            out = Dense(values, rate.detach(), grad_proxy=rate)
        return cls(Current([Term(out)], timesteps))

    @classmethod
    def nonlinear(cls, operation: Nonlinear, inputs: Sequence[Self]) -> Self:
        timesteps = inputs[0].timesteps
        if all(x.current.static for x in inputs):
            return cls.static(operation(*(x.rate() for x in inputs)), timesteps)
        steps = [x.resolve() for x in inputs]
        with torch.no_grad():
            values, parts = operation.at_all_steps(steps, timesteps)
            means = [part.mean(0) for part in parts]
        out = Dense(values, Dense(values).time_mean())
        return cls(Current([Term(replace(out, grad_proxy=operation.grad_proxy(steps, out, means)))], timesteps))

    def batch_norm(self, norm: BatchNorm) -> Self:
        if self.current.static:
            rate = self.rate()
            return self.static(norm.static(rate, self.timesteps) if norm.training else norm(rate), self.timesteps)
        steps = self.resolve()
        normalisation = norm.statistics(steps.values().flatten(0, 1)) if norm.training else norm.running()
        return type(self)(Current([Term(steps, normalisation)], self.timesteps)).left_to_neurons()
