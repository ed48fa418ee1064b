"""The carrier of multi-step BPTT and of evaluation: all timesteps at once, with their graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from torch import Tensor

from rbp_engine.spiking.autograd import bptt_neuron
from rbp_engine.spiking.autograd.batch_norm import BatchNorm, Normalisation
from rbp_engine.spiking.carrier import all_carriers, replace_carriers
from rbp_engine.spiking.carriers.deferred_sum import DeferredSum, deferred_terms
from rbp_engine.spiking.kernels.neuron_input import Current, Term
from rbp_engine.spiking.kernels.neurons import Neurons
from rbp_engine.spiking.kernels.steps import Dense, Steps, TimeConstant


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
        return self.with_values(Current([Term(self.resolve(), by)], self.timesteps))

    def spikes_by_step(self) -> Iterable[tuple[int, Tensor]]:
        return enumerate(self.steps().unbind(0))

    def fire(self, neurons: Neurons) -> Self:
        learns = any(value.requires_grad for value in neurons.learnt)
        with_graph = torch.is_grad_enabled() and (self.current.requires_grad or learns)
        return self.with_values(
            bptt_neuron.fire(self.current, neurons) if with_graph else neurons.spikes_only(self.current)
        )

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        carriers = list(all_carriers(args))
        first: Self = carriers[0]
        if all(carrier.static for carrier in carriers):
            return first.with_values(function(*replace_carriers(args, lambda x: x.values()), **kwargs), static=True)
        # T is folded into the batch: [T·B, …].
        out = function(*replace_carriers(args, lambda x: x.steps().flatten(0, 1)), **kwargs)
        return first.with_values(out.unflatten(0, (first.timesteps, -1)))

    @classmethod
    def each_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        carriers = list(all_carriers(args))
        first: Self = carriers[0]
        static = all(carrier.static for carrier in carriers)

        def one_step(*values_t: Tensor) -> Tensor:
            values = iter(values_t)
            return function(*replace_carriers(args, lambda _: next(values)), **kwargs)

        if static:
            return first.with_values(one_step(*(carrier.values() for carrier in carriers)), static=True)
        over = tuple(None if carrier.static else 0 for carrier in carriers)
        return first.with_values(torch.vmap(one_step, over)(*(carrier.values() for carrier in carriers)))

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        carriers = list(all_carriers(args))
        first: Self = carriers[0]
        terms = deferred_terms(function, args, kwargs)
        if terms is not None:
            return first.with_values(Current(terms, first.timesteps))
        # [B, …] broadcasts against [T, B, …] as it stands.
        out = function(*replace_carriers(args, lambda x: x.values()), **kwargs)
        return first.with_values(out, static=all(carrier.static for carrier in carriers))

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        if x.static:
            return x.with_values(norm.static(x.values(), x.timesteps), static=True)
        return x.normalised(norm.statistics(x.values().flatten(0, 1)))

    @classmethod
    def fixed_batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        if torch.is_grad_enabled() or x.static:
            return cls.per_step(norm, (x,), {})
        return x.normalised(norm.running())


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
