"""The carrier of multi-step BPTT and of evaluation: all timesteps at once, with their graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from rbp_engine.spiking import lif
from rbp_engine.spiking.batch_norm import BatchNorm
from rbp_engine.spiking.carrier import Carrier, all_carriers, replace_carriers

if TYPE_CHECKING:
    from rbp_engine.spiking.neuron import LIF


class SequenceTensor(Carrier):
    """A sequence [T, B, …] with its graph: multi-step BPTT, and evaluation.

    A sequence that is the same at every step (a static image before the first neuron) is kept once, as [B, …], and
    whatever comes before the first neuron costs one timestep instead of T.
    """

    def __init__(self, values: Tensor, timesteps: int, static: bool = False) -> None:
        self.values = values
        self.timesteps = timesteps
        self.static = static

    @property
    def batch(self) -> Tensor:
        return self.values if self.static else self.values[0]

    def steps(self) -> Tensor:
        """[T, B, …]; a static sequence is expanded without a copy."""
        return self.values.expand(self.timesteps, *self.values.shape) if self.static else self.values

    def time_mean(self) -> Tensor:
        """[B, …]."""
        return self.values if self.static else self.values.mean(0)

    def like(self, values: Tensor, *, static: bool) -> Self:
        """Other values of the same timesteps."""
        return type(self)(values, self.timesteps, static)

    def fire(self, neuron: LIF) -> Self:
        current = self.steps()
        if torch.is_grad_enabled() and current.requires_grad:
            return self.like(lif.sequence(current, **neuron.settings), static=False)
        spikes = lif.spikes_only(current, decay=neuron.decay, threshold=neuron.threshold, v_reset=neuron.v_reset)
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
        # [B, …] broadcasts against [T, B, …] as it stands.
        out = function(*replace_carriers(args, lambda x: x.values), **kwargs)
        first: Self = carriers[0]
        return first.like(out, static=all(carrier.static for carrier in carriers))

    @classmethod
    def batch_norm(cls, x: Self, norm: BatchNorm) -> Self:
        if x.static:
            return x.like(norm.static(x.values, x.timesteps), static=True)
        return cls.per_step(norm, (x,), {})


class ShuffledTensor(SequenceTensor):
    """A sequence for evaluation whose layers receive their inputs in a random order of time (paper, table 2)."""

    def __init__(self, values: Tensor, timesteps: int, static: bool, generator: torch.Generator) -> None:
        super().__init__(values, timesteps, static)
        self.generator = generator

    def like(self, values: Tensor, *, static: bool) -> Self:
        return type(self)(values, self.timesteps, static, self.generator)

    def fire(self, neuron: LIF) -> Self:
        return super().fire(neuron).shuffled()

    def shuffled(self) -> Self:
        """The same steps in an order drawn anew; the same for all samples of the batch."""
        if self.static:
            return self
        order = torch.randperm(self.timesteps, generator=self.generator).to(self.values.device)
        return self.like(self.values[order], static=False)
