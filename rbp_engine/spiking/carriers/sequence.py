"""The carrier of multi-step BPTT and of evaluation: all timesteps at once, with their graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import Tensor

from rbp_engine.spiking import firing
from rbp_engine.spiking.batch_norm import BatchNorm, Normalisation
from rbp_engine.spiking.carriers.deferred_sum import DeferredSum, deferred_terms
from rbp_engine.spiking.fusion import Current, Term
from rbp_engine.spiking.layers.neuron_layer import Neurons
from rbp_engine.spiking.linear import Linear, at_all_steps
from rbp_engine.spiking.nonlinear import Nonlinear
from rbp_engine.spiking.steps import Dense, Steps, TimeConstant


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
        # What is computed later has a graph if it would have had one now.
        self._with_graph = torch.is_grad_enabled()

    @property
    def static(self) -> bool:
        """Whether it is the same at every step."""
        return self.current.static

    def _compute(self) -> Steps:
        with torch.set_grad_enabled(self._with_graph):
            return Dense(self.current.compute())

    def values(self) -> Tensor:
        """[T, B, …], or [B, …] if static."""
        return self.resolve().values()

    def steps(self) -> Tensor:
        """[T, B, …]; a static sequence is expanded without a copy."""
        values = self.values()
        return values.expand(self.timesteps, *values.shape) if self.static else values

    def time_mean(self) -> Tensor:
        """[B, …]."""
        return self.resolve().time_mean()

    def with_values(self, values: Tensor | Current, *, static: bool = False) -> Self:
        """Other values of the same timesteps."""
        return type(self)(values, self.timesteps, static)

    def normalised(self, by: Normalisation) -> Self:
        """After a batch norm whose statistics are known; deferred."""
        return self.with_values(Current([Term(self.resolve(), by)], self.timesteps)).left_to_neurons()

    def spikes_by_step(self) -> Iterable[tuple[int, Tensor]]:
        return enumerate(self.steps().unbind(0))

    def fire(self, neurons: Neurons) -> Self:
        learns = any(value.requires_grad for value in neurons.learnt)
        with_graph = torch.is_grad_enabled() and (self.current.requires_grad or learns)
        return self.with_values(
            firing.spikes_through_time(self.current, neurons) if with_graph else neurons.spikes_only(self.current)
        )

    @classmethod
    def linear(cls, operation: Linear, inputs: Sequence[Self]) -> Self:
        first = inputs[0]
        terms = deferred_terms(operation, inputs)
        if terms is not None:
            return first.with_values(Current(terms, first.timesteps))
        return first._computed(operation, inputs)

    @classmethod
    def nonlinear(cls, operation: Nonlinear, inputs: Sequence[Self]) -> Self:
        return inputs[0]._computed(operation, inputs)

    def _computed(self, operation: Linear | Nonlinear, inputs: Sequence[Self]) -> Self:
        if all(x.static for x in inputs):
            return self.with_values(operation(*(x.values() for x in inputs)), static=True)
        steps = [x.resolve() for x in inputs]
        return self.with_values(at_all_steps(operation, operation.over, steps, self.timesteps))

    def batch_norm(self, norm: BatchNorm) -> Self:
        if self.static:
            values = norm.static(self.values(), self.timesteps) if norm.training else norm(self.values())
            return self.with_values(values, static=True)
        return self.normalised(norm.statistics(self.values().flatten(0, 1)) if norm.training else norm.running())


class ShuffledTensor(SequenceTensor):
    """A sequence for evaluation whose layers receive their inputs in a random order of time (paper, table 2)."""

    def __init__(self, values: Tensor | Current, timesteps: int, static: bool, generator: torch.Generator) -> None:
        super().__init__(values, timesteps, static)
        self.generator = generator

    def with_values(self, values: Tensor | Current, *, static: bool = False) -> Self:
        return type(self)(values, self.timesteps, static, self.generator)

    def fire(self, neurons: Neurons) -> Self:
        return super().fire(neurons).shuffled()

    def shuffled(self) -> Self:
        """The same steps in an order drawn anew; the same for all samples of the batch."""
        if self.static:
            return self
        values_TBX = self.values()
        order = torch.randperm(self.timesteps, generator=self.generator).to(values_TBX.device)
        return self.with_values(values_TBX[order])
