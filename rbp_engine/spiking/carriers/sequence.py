"""Carriers of all timesteps at once, which leave batch norms and sums to the next neuron (`spiking/fusion.py`).

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

from rbp_engine.spiking import fusion
from rbp_engine.spiking.batch_norm import BatchNorm
from rbp_engine.spiking.fusion import Current, CurrentReader, Neurons, Term, is_fused
from rbp_engine.spiking.linear import Linear, at_all_steps, layer_gradient
from rbp_engine.spiking.nonlinear import Nonlinear
from rbp_engine.spiking.rules.rule_table import TensorLike
from rbp_engine.spiking.steps import Dense, Spikes, Steps, TimeConstant


class DeferredSum(TensorLike):
    """A carrier of a `Current`. A neuron takes it as it is; every other operation calls `resolve()` first."""

    current: Current

    @property
    def like(self) -> Tensor:
        return self.current.like

    @property
    def shape(self) -> torch.Size:
        return self.current.shape

    def by_step(self, samples: int | None = None) -> Iterable[tuple[int, Tensor]]:
        reader = CurrentReader(self.current.first(samples))
        return ((t, reader.at(t)) for t in range(self.current.timesteps))

    def resolve(self) -> Steps:
        """Carry out what is deferred, once: the carrier keeps the result, with the graph that it was deferred with."""
        if self.current.deferred:
            with torch.set_grad_enabled(any(term.with_graph for term in self.current.terms)):
                self.current = Current([Term(self._compute())], self.current.timesteps)
        return self.current.terms[0].steps

    def left_to_neurons(self) -> Self:
        """This carrier, whose batch norm the next neuron layer carries out; without fusion it is done at once."""
        if not is_fused():
            self.resolve()
        return self

    @abstractmethod
    def _compute(self) -> Steps:
        """What the deferred sum comes to."""


def deferred_terms(operation: Linear, inputs: Sequence[DeferredSum]) -> list[Term] | None:
    """The terms of a sum of two carriers that the next neuron can carry out; None for what has to be computed now.

    An argument that is a sum already is resolved, so that a network that adds on and on does not keep every term alive.
    A sum of two values with nothing deferred is computed now: torch adds them in one go.
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

    def __init__(self, values: Tensor | Current, timesteps: int, static: bool = False) -> None:
        """`values` are [T, B, …], or [B, …] if `static`."""
        if isinstance(values, Tensor):
            values = Current([Term(TimeConstant(values) if static else Dense(values))], timesteps)
        self.current = values
        self.timesteps = timesteps

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

    def with_values(self, values: Tensor | Current, *, static: bool = False) -> Self:
        """Other values of the same timesteps."""
        return type(self)(values, self.timesteps, static)

    def fire(self, neurons: Neurons) -> Self:
        return self.with_values(fusion.spikes_through_time(self.current, neurons))

    @classmethod
    def linear(cls, operation: Linear, inputs: Sequence[Self]) -> Self:
        terms = deferred_terms(operation, inputs)
        if terms is not None:
            return inputs[0].with_values(Current(terms, inputs[0].timesteps))
        return inputs[0]._computed(operation, inputs)

    @classmethod
    def nonlinear(cls, operation: Nonlinear, inputs: Sequence[Self]) -> Self:
        return inputs[0]._computed(operation, inputs)

    def _computed(self, operation: Linear | Nonlinear, inputs: Sequence[Self]) -> Self:
        if all(x.current.static for x in inputs):
            return self.with_values(operation(*(x.values() for x in inputs)), static=True)
        steps = [x.resolve() for x in inputs]
        return self.with_values(at_all_steps(operation, operation.over, steps, self.timesteps))

    def batch_norm(self, norm: BatchNorm) -> Self:
        if self.current.static:
            values = norm.static(self.values(), self.timesteps) if norm.training else norm(self.values())
            return self.with_values(values, static=True)
        known = norm.statistics(self.values().flatten(0, 1)) if norm.training else norm.running()
        return self.with_values(Current([Term(self.resolve(), known)], self.timesteps)).left_to_neurons()


class RateTensor(DeferredSum):
    """A sequence [T, B, …] without a graph, and its time mean r [B, …] with its gradient (rate_M).

    One pass through the network builds both, and the backward pass is that of a network without time (paper,
    section 4). Until the first neuron a static image is its own mean.

    The sequence's steps hold a gradient proxy of their mean; convolutions and neurons need no more. `rate()` joins it
    with the value of the mean.
    """

    def __init__(self, sequence: SequenceTensor, grad_proxy: Tensor | None = None) -> None:
        """`grad_proxy` [B, …] carries the gradient of the time mean; None for data, and where the steps have one."""
        self.timesteps = sequence.timesteps
        self.current = sequence.current
        if grad_proxy is not None:
            self.current = Current([Term(replace(sequence.resolve(), grad_proxy=grad_proxy))], self.timesteps)

    @classmethod
    def static(cls, values: Tensor, timesteps: int) -> Self:
        """Values [B, …] with their graph that are the same at every step."""
        return cls(SequenceTensor(values.detach(), timesteps, static=True), values)

    def _compute(self) -> Steps:
        rate = self.current.rate()
        with torch.no_grad():
            return Dense(self.current.compute(), rate.detach(), grad_proxy=rate)

    def rate(self) -> Tensor:
        """The time mean [B, …] with its gradient."""
        return self.resolve().rate()

    def fire(self, neurons: Neurons) -> RateTensor:
        spikes, counts, derivatives, means = neurons.rate(self.current)
        grad_proxy = fusion.rate_proxy(self.current.terms, means, derivatives, neurons.learnt)
        return self._of([Term(Spikes(spikes, counts, self.dtype, grad_proxy=grad_proxy))], self.timesteps)

    @classmethod
    def linear(cls, operation: Linear, inputs: Sequence[Self]) -> Self:
        timesteps, terms = inputs[0].timesteps, deferred_terms(operation, inputs)
        if terms is not None:
            return cls._of(terms, timesteps)
        if all(x.current.static for x in inputs):
            return cls.static(operation(*(x.rate() for x in inputs)), timesteps)
        steps = [x.resolve() for x in inputs]
        if operation.moves and len(steps) == 1:
            return cls._of([Term(steps[0].moved(operation))], timesteps)
        with torch.no_grad():
            values = at_all_steps(operation, operation.over, steps, timesteps)
        if operation.weights == "layer":
            out = Dense(values, grad_proxy=layer_gradient(operation.call, steps[0], values[0]))
        else:
            rate = operation(*(x.rate() for x in steps))
            out = Dense(values, rate.detach(), grad_proxy=rate)
        return cls._of([Term(out)], timesteps)

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
        return cls._of([Term(replace(out, grad_proxy=operation.grad_proxy(steps, out, means)))], timesteps)

    def batch_norm(self, norm: BatchNorm) -> Self:
        if self.current.static:
            rate = self.rate()
            return self.static(norm.static(rate, self.timesteps) if norm.training else norm(rate), self.timesteps)
        steps = self.resolve()
        known = norm.statistics(steps.values().flatten(0, 1)) if norm.training else norm.running()
        return self._of([Term(steps, known)], self.timesteps).left_to_neurons()

    @classmethod
    def _of(cls, terms: Sequence[Term], timesteps: int) -> Self:
        """A sum that is deferred, or of one term; the terms hold their gradient proxies."""
        return cls(SequenceTensor(Current(terms, timesteps), timesteps))
