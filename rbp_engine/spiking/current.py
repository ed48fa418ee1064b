"""The input current of a layer of neurons: a sum whose batch norms and additions may still have to be computed.

A batch norm with known statistics is a scale and a shift per channel. Where a neuron comes next, as it nearly always
does, the loop over time applies them to what it reads anyway, and one [T, B, …] less is written and read.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rbp_engine.spiking.batch_norm import Normalisation, per_channel
from rbp_engine.spiking.dtypes import membrane_dtype
from rbp_engine.spiking.steps import Dense, Spikes, Steps, TimeConstant


@dataclass(frozen=True)
class Term:
    """One term of a sum, and the batch norm still to be applied to it. A term that is constant in time has none.

    `with_graph` is False if the sum was formed under `torch.no_grad`, wherever it is computed.
    """

    steps: Steps
    normalisation: Normalisation | None = None
    with_graph: bool = True

    def sources(self, values: Tensor | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The tensors that receive its gradient: these values, or a proxy of them, and γ and β of its batch norm."""
        if not self.with_graph:
            return None, None, None
        if self.normalisation is None:
            return values, None, None
        return values, self.normalisation.norm.weight, self.normalisation.norm.bias

    def compute(self) -> Tensor:
        """The term as it stands in the sum, with its graph: [T, B, …], or [B, …] if static."""
        values = self.steps.values()
        if self.normalisation is not None:
            values = self.normalisation(values.flatten(0, 1)).unflatten(0, values.shape[:2])
        return values if self.with_graph else values.detach()

    def rate(self) -> Tensor:
        """The time mean [B, …] of the term, with its gradient."""
        rate = self.steps.rate()
        rate = rate if self.normalisation is None else self.normalisation(rate)
        return rate if self.with_graph else rate.detach()


class Current:
    """An immutable sum of terms.

    `length` is the number of its timesteps: all T, or 1 in rate_S, where it is of one timestep or of the means.
    """

    def __init__(self, terms: Sequence[Term], length: int) -> None:
        self.terms = tuple(terms if torch.is_grad_enabled() else (replace(term, with_graph=False) for term in terms))
        self.length = length

    @staticmethod
    def of(values: Tensor, grad_proxy: Tensor | None = None) -> Current:
        """A sequence [T, B, …] as a sum of one; `grad_proxy` [B, …] carries the gradient of its time mean."""
        return Current([Term(Dense(values, grad_proxy=grad_proxy))], len(values))

    @staticmethod
    def constant(values: Tensor, length: int, grad_proxy: Tensor | None = None) -> Current:
        """The same for values [B, …] that are equal at every timestep."""
        return Current([Term(TimeConstant(values, grad_proxy=grad_proxy))], length)

    @property
    def deferred(self) -> bool:
        """Whether a batch norm or an addition is still to be computed."""
        return len(self.terms) > 1 or self.terms[0].normalisation is not None

    @property
    def static(self) -> bool:
        """Whether it is the same at every timestep."""
        return all(isinstance(term.steps, TimeConstant) for term in self.terms)

    @property
    def like(self) -> Tensor:
        """A tensor with the shape, type and layout of one timestep, [B, …]; its values are meaningless."""
        steps = self._first
        return torch.empty_like(steps.at(0), dtype=steps.dtype) if isinstance(steps, Spikes) else steps.at(0)

    @property
    def shape(self) -> torch.Size:
        """The shape of one timestep, [B, …]; no tensor is made."""
        return self._first.at(0).shape

    @property
    def _first(self) -> Steps:
        """The values of the first term that varies over time, or of the first term if none does."""
        changing = (term.steps for term in self.terms if not isinstance(term.steps, TimeConstant))
        return next(changing, self.terms[0].steps)

    def first(self, samples: int | None) -> Current:
        """The current of the first samples of the batch, or of all. Batch norms keep the statistics of all."""
        terms = [replace(term, steps=term.steps.moved(lambda x: x[:samples])) for term in self.terms]
        return Current(terms, self.length)

    def compute(self) -> Tensor:
        """[T, B, …], or [B, …] if all is static, with its graph."""
        return functools.reduce(operator.add, (term.compute() for term in self.terms))

    def rate(self) -> Tensor:
        """The time mean [B, …], with its gradient."""
        return functools.reduce(operator.add, (term.rate() for term in self.terms))


class CurrentReader:
    """Computes the current timestep by timestep into one buffer, without a graph."""

    def __init__(self, current: Current) -> None:
        batch = current.like
        affine = [term.normalisation.affine() if term.normalisation else (None, None) for term in current.terms]
        shifts = [shift for _, shift in affine if shift is not None]
        self._terms = [
            (term.steps, scale if scale is None else per_channel(scale, batch))
            for term, (scale, _) in zip(current.terms, affine, strict=True)
        ]
        self._shift = per_channel(functools.reduce(operator.add, shifts), batch) if shifts else None
        plain = len(self._terms) == 1 and not shifts
        self._membrane_dtype = membrane_dtype(batch.dtype)
        self._buffer = None if plain else torch.empty_like(batch, dtype=self._membrane_dtype)
        self.dtype = current.terms[0].steps.dtype

    def at(self, t: int) -> Tensor:
        """The current I_t [B, …], float32 at least, valid until the next call."""
        (first, scale), *others = self._terms
        total = self._buffer
        if total is None:
            return first.at(t).to(self._membrane_dtype)
        if scale is None:
            total.copy_(first.at(t))
        else:
            torch.mul(first.at(t), scale, out=total)
        for steps, scale in others:
            total.add_(steps.at(t) if scale is None else steps.at(t) * scale)
        return total if self._shift is None else total.add_(self._shift)

    def values_at(self, term: int, t: int) -> Tensor:
        """The values [B, …] of a term, before its batch norm."""
        steps, _ = self._terms[term]
        return steps.at(t)
