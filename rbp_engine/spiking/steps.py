"""What a layer receives over T timesteps: `Dense` values, `TimeConstant` ones, which are the same at each, or `Spikes`.

All three are frozen. For the rate methods they also hold a gradient proxy of their time mean, which leads to the layers
before: a value and its gradient travel apart. The values of the rate pass are known before its graph is built: c and r
are time means of what the T steps have computed. Only the gradient is missing. A gradient proxy is a tensor [B, …] that
stands in the graph in place of the mean: its `grad_fn` leads to the layers before, its values are never read. Those of
layers and neurons have zero strides, one number of memory; where autograd makes one, it is what autograd computes.
`WithValue` puts value and gradient together where an ordinary torch function needs both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


class WithValue(torch.autograd.Function):
    """The value of one tensor with the gradient of another, both [B, …]."""

    @staticmethod
    def forward(ctx: Any, grad_proxy: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad, None


def new_grad_proxy(like: Tensor) -> Tensor:
    """A gradient proxy of the shape, type and device of `like`; an `autograd.Function` returns it from its forward."""
    return like.new_empty(()).expand(like.shape)


def firing_rate(counts: Tensor, timesteps: int, dtype: torch.dtype) -> Tensor:
    """r [B, …] from the numbers of spikes [B, …] in T steps."""
    return counts.to(dtype).div_(timesteps)


@dataclass(frozen=True)
class WeightInput:
    """The input [B, …] that a weight's gradient is computed from: its values, or counts of spikes in T timesteps."""

    stored: Tensor
    counted: int | None = None

    @staticmethod
    def load(stored: Tensor, counted: int | None, dtype: torch.dtype) -> Tensor:
        return stored if counted is None else firing_rate(stored, counted, dtype)


@dataclass(frozen=True, eq=False, kw_only=True)
class Steps(ABC):
    """Values over T timesteps; `grad_proxy` [B, …] carries the gradient of their time mean, where it has one."""

    grad_proxy: Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The type of the values."""
        return self.at(0).dtype

    @property
    def mean_is_known(self) -> bool:
        """Whether the time mean is available without adding up the values."""
        return True

    @abstractmethod
    def at(self, t: int) -> Tensor:
        """The values [B, …] of timestep t as they are stored: spikes as bytes."""

    @abstractmethod
    def values(self) -> Tensor:
        """All values, [T, B, …]; [B, …] if static."""

    @abstractmethod
    def time_mean(self) -> Tensor:
        """[B, …]."""

    def weight_input(self) -> WeightInput:
        """What the gradient of a weight that receives them is computed from: their time mean [B, …]."""
        return WeightInput(self.time_mean())

    @abstractmethod
    def moved(self, move: Callable[[Tensor], Tensor]) -> Steps:
        """The same values rearranged; `move` acts on one timestep [B, …] and only moves its entries."""

    def _moved_proxy(self, move: Callable[[Tensor], Tensor]) -> Tensor | None:
        return None if self.grad_proxy is None else move(self.grad_proxy)

    def rate(self) -> Tensor:
        """The time mean [B, …] with its gradient."""
        mean = self.time_mean()
        return mean if self.grad_proxy is None else WithValue.apply(self.grad_proxy, mean)


@dataclass(frozen=True, eq=False)
class Dense(Steps):
    """Values [T, B, …]; `known_mean` [B, …] is their time mean, if it was not computed from them."""

    values_TBX: Tensor
    known_mean: Tensor | None = None

    @property
    def mean_is_known(self) -> bool:
        return self.known_mean is not None

    def at(self, t: int) -> Tensor:
        return self.values_TBX[t]

    def values(self) -> Tensor:
        return self.values_TBX

    def time_mean(self) -> Tensor:
        if self.values_TBX.requires_grad:
            return self.values_TBX.mean(0)  # not kept: under no_grad it has no graph
        return self._mean if self.known_mean is None else self.known_mean

    def moved(self, move: Callable[[Tensor], Tensor]) -> Dense:
        mean = None if self.known_mean is None else move(self.known_mean)
        return Dense(torch.vmap(move)(self.values_TBX), mean, grad_proxy=self._moved_proxy(move))

    @cached_property
    def _mean(self) -> Tensor:
        # In the layout of a timestep, which `mean` loses: with channels last the pooling of means is much faster.
        return torch.mean(self.values_TBX, 0, out=torch.empty_like(self.values_TBX[0]))


@dataclass(frozen=True, eq=False)
class TimeConstant(Steps):
    """Values [B, …] that are the same at every timestep, like the time means of rate_S's second phase.

    If they are firing rates, `counts` holds the numbers of spikes.
    """

    values_BX: Tensor
    counts: WeightInput | None = None

    def at(self, t: int) -> Tensor:
        return self.values_BX

    def values(self) -> Tensor:
        return self.values_BX

    def time_mean(self) -> Tensor:
        return self.values_BX

    def moved(self, move: Callable[[Tensor], Tensor]) -> TimeConstant:
        counts = None if self.counts is None else replace(self.counts, stored=move(self.counts.stored))
        return TimeConstant(move(self.values_BX), counts, grad_proxy=self._moved_proxy(move))

    def weight_input(self) -> WeightInput:
        return super().weight_input() if self.counts is None else self.counts


@dataclass(frozen=True, eq=False)
class Spikes(Steps):
    """Spikes as bytes and their `counts` [B, …]; as values they have the type `values_dtype`.

    The bytes are [T, B, …], or T tensors [B, …] where a layer has moved them.
    """

    bytes_TBX: Tensor | Sequence[Tensor]
    counts: Tensor
    values_dtype: torch.dtype

    @property
    def dtype(self) -> torch.dtype:
        return self.values_dtype

    def at(self, t: int) -> Tensor:
        return self.bytes_TBX[t]

    def values(self) -> Tensor:
        """[T, B, …]: a copy, which is not kept."""
        return copied(self.bytes_TBX, empty_steps(self.bytes_TBX[0], len(self.bytes_TBX), self.values_dtype))

    def moved(self, move: Callable[[Tensor], Tensor]) -> Spikes:
        proxy = self._moved_proxy(move)
        return Spikes(list(map(move, self.bytes_TBX)), move(self.counts), self.values_dtype, grad_proxy=proxy)

    def time_mean(self) -> Tensor:
        """The firing rate r [B, …]."""
        return self._rate

    @cached_property
    def _rate(self) -> Tensor:
        return firing_rate(self.counts, len(self.bytes_TBX), self.values_dtype)

    def weight_input(self) -> WeightInput:
        return WeightInput(self.counts, len(self.bytes_TBX))


def copied(steps: Tensor | Sequence[Tensor], into: Tensor) -> Tensor:
    """`into` [T, B, …], with a copy of [T, B, …] or of T tensors [B, …]."""
    if isinstance(steps, Tensor):
        return into.copy_(steps)
    for copy, step in zip(into, steps, strict=True):
        copy.copy_(step)
    return into


def as_matrices(steps: Tensor | Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """A copy [T, B, …, N, M] of T tensors, in which each matrix is contiguous, by rows or by columns as before.

    A product would copy any other layout itself, value by value.
    """
    by_columns = steps[0].stride(-2) < steps[0].stride(-1)
    shape = steps[0].mT.shape if by_columns else steps[0].shape
    copies = torch.empty(len(steps), *shape, dtype=dtype, device=steps[0].device)
    return copied(steps, copies.mT if by_columns else copies)


def empty_steps(batch: Tensor, timesteps: int, dtype: torch.dtype | None = None) -> Tensor:
    """An uninitialised [T, B, …] whose timesteps have the layout of `batch` [B, …], and its type or another."""
    strides = torch.empty_like(batch, device="meta").stride()
    return batch.new_empty_strided((timesteps, *batch.shape), (batch.numel(), *strides), dtype=dtype)
