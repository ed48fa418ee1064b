"""The carrier of multi-step BPTT and of evaluation: all timesteps at once, with their graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from rbp_engine.spiking.autograd import bptt_neuron
from rbp_engine.spiking.autograd.batch_norm import BatchNorm, Normalisation
from rbp_engine.spiking.carrier import all_carriers, is_plain_sum, replace_carriers
from rbp_engine.spiking.kernels import lif
from rbp_engine.spiking.kernels.neuron_input import Current, Steps, Term
from rbp_engine.spiking.lif_parameters import LIFParameters
from rbp_engine.spiking.tensor_like import TensorLike


class SequenceTensor(TensorLike):
    """A sequence [T, B, …] with its graph: multi-step BPTT, and evaluation.

    A sequence that is the same at every step (a static image before the first neuron) is kept once, as [B, …], and
    whatever comes before the first neuron costs one timestep instead of T. What batch norms and sums make of it is
    computed when somebody asks for `values`; a neuron does not (`spiking/kernels/neuron_input.py`).
    """

    recomputable = True

    def __init__(self, values: Tensor | Current, timesteps: int, static: bool = False) -> None:
        self.current = values if isinstance(values, Current) else Current([Term(Steps(values, static))], timesteps)
        self.timesteps = timesteps
        self.static = static
        # What is carried out later has a graph if it would have had one at once.
        self._with_graph = torch.is_grad_enabled()
        self._stays = False

    @property
    def deferred(self) -> bool:
        """Whether batch norms or sums are still to be carried out."""
        return len(self.current.terms) > 1 or self.current.terms[0].normalisation is not None

    @property
    def by_step(self) -> Steps:
        """All values, computed if need be."""
        if not self.deferred:
            return self.current.terms[0].steps
        with torch.set_grad_enabled(self._with_graph):
            steps = Steps(self.current.compute(), self.static)
        if not self._stays:
            self.current = Current([Term(steps)], self.timesteps)
        return steps

    def stay(self) -> None:
        self._stays = True

    @property
    def values(self) -> Tensor:
        """[T, B, …], or [B, …] if static."""
        return self.by_step.values

    @property
    def batch(self) -> Tensor:
        return self.current.batch

    def steps(self) -> Tensor:
        """[T, B, …]; a static sequence is expanded without a copy."""
        return self.values.expand(self.timesteps, *self.values.shape) if self.static else self.values

    def time_mean(self) -> Tensor:
        """[B, …]."""
        return self.by_step.time_mean()

    def like(self, values: Tensor | Current, *, static: bool) -> Self:
        """Other values of the same timesteps."""
        return type(self)(values, self.timesteps, static)

    def normalised(self, by: Normalisation) -> Self:
        """After a batch norm whose statistics are known; not carried out yet."""
        return self.like(Current([Term(self.by_step, by)], self.timesteps), static=False)

    def plus(self, other: Self) -> Self:
        """The sum, not carried out yet."""
        terms: list[Term] = []
        for x in (self, other):
            # A network that adds on and on would otherwise keep every term alive.
            terms += x.current.terms if len(x.current.terms) == 1 else [Term(x.by_step)]
        return self.like(Current(terms, self.timesteps), static=self.static and other.static)

    def fire(self, parameters: LIFParameters) -> Self:
        with_graph = torch.is_grad_enabled() and self.current.requires_grad
        spikes = (bptt_neuron.fire if with_graph else lif.spikes_only)(self.current, parameters)
        return self.like(spikes, static=False)

    @classmethod
    def per_step(cls, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        carriers = list(all_carriers(args))
        first: Self = carriers[0]
        static = all(carrier.static for carrier in carriers)
        if static:
            return first.like(function(*replace_carriers(args, lambda x: x.values), **kwargs), static=True)
        out = function(*replace_carriers(args, lambda x: x.steps().flatten(0, 1)), **kwargs)
        return first.like(out.unflatten(0, (first.timesteps, -1)), static=False)

    @classmethod
    def elementwise(cls, function: Callable[..., Tensor], args: tuple[Any, ...], **kwargs: Any) -> Self:
        carriers = list(all_carriers(args))
        first: Self = carriers[0]
        if is_plain_sum(function, args, kwargs) and any(carrier.deferred for carrier in carriers):
            return first.plus(carriers[1])
        # [B, …] broadcasts against [T, B, …] as it stands.
        out = function(*replace_carriers(args, lambda x: x.values), **kwargs)
        return first.like(out, static=all(carrier.static for carrier in carriers))

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        if x.static:
            return x.like(norm.static(x.values, x.timesteps), static=True)
        return x.normalised(norm.statistics(x.values.flatten(0, 1)))

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

    def like(self, values: Tensor | Current, *, static: bool) -> Self:
        return type(self)(values, self.timesteps, static, self.generator)

    def fire(self, parameters: LIFParameters) -> Self:
        return super().fire(parameters).shuffled()

    def shuffled(self) -> Self:
        """The same steps in an order drawn anew; the same for all samples of the batch."""
        if self.static:
            return self
        order = torch.randperm(self.timesteps, generator=self.generator).to(self.values.device)
        return self.like(self.values[order], static=False)
