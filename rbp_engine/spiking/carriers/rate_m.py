"""The carrier of rate_M: the whole sequence without a graph, and the gradient of its time mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import Tensor

from rbp_engine.spiking import firing
from rbp_engine.spiking.batch_norm import BatchNorm
from rbp_engine.spiking.carriers.deferred_sum import DeferredSum, deferred_terms
from rbp_engine.spiking.carriers.sequence import SequenceTensor
from rbp_engine.spiking.fusion import Current, Term
from rbp_engine.spiking.layers.neuron_layer import Neurons
from rbp_engine.spiking.linear import Linear, at_all_steps, layer_gradient
from rbp_engine.spiking.nonlinear import Nonlinear
from rbp_engine.spiking.steps import Dense, Spikes, Steps


class RateTensor(DeferredSum):
    """A sequence [T, B, …] without a graph, and its time mean r [B, …] with its gradient (rate_M).

    One pass through the network builds both, and the backward pass is that of a network without time (paper,
    section 4). Until the first neuron a static image is its own mean.

    The sequence's steps hold a gradient proxy of their mean; convolutions and neurons need no more. `rate()` joins it
    with the value of the mean.
    """

    def __init__(self, sequence: SequenceTensor, grad_proxy: Tensor | None = None, mean: Tensor | None = None) -> None:
        """`grad_proxy` [B, …] carries the gradient of the time mean; None for data, and where the steps have a proxy.

        `mean` [B, …] is the value of the time mean, if it is known already.
        """
        self.timesteps = sequence.timesteps
        self.current = sequence.current
        if grad_proxy is not None:
            self.current = Current([Term(sequence.resolve().with_gradient(grad_proxy, mean))], self.timesteps)

    @classmethod
    def static(cls, values: Tensor, timesteps: int) -> Self:
        """Values [B, …] with their graph that are the same at every step."""
        return cls(SequenceTensor(values.detach(), timesteps, static=True), values)

    @property
    def sequence(self) -> SequenceTensor:
        """The sequence alone; whatever is done with it leaves this carrier as it is."""
        with torch.no_grad():
            return SequenceTensor(self.current, self.timesteps)

    def _compute(self) -> Steps:
        rate = self.current.rate()
        with torch.no_grad():
            return Dense(self.current.compute(), rate.detach(), grad_proxy=rate)

    def rate(self) -> Tensor:
        """The time mean [B, …] with its gradient."""
        return self.resolve().rate()

    def spikes_by_step(self) -> Iterable[tuple[int, Tensor]]:
        steps = self.resolve()
        return ((t, steps.at(t)) for t in range(self.timesteps))

    def fire(self, neurons: Neurons) -> RateTensor:
        spikes, counts, derivatives, means = neurons.rate(self.current)
        grad_proxy = firing.rate_proxy(self.current.terms, means, derivatives, neurons.learnt)
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
        return cls._of([Term(out.with_gradient(operation.grad_proxy(steps, out, means)))], timesteps)

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
