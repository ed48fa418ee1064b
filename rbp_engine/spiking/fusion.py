"""Fusion: batch norms and sums before a neuron layer are deferred, and the loop over time carries them out itself.

A batch norm with known statistics is a scale and a shift per channel. Where a neuron comes next, as it nearly always
does, the loop applies them to what it reads anyway, and one [T, B, …] less is written and read. `unfused` switches it
off.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from rbp_engine.spiking.batch_norm import Normalisation, per_channel
from rbp_engine.spiking.steps import Dense, Spikes, Steps, TimeConstant

_FUSED = ContextVar("fused", default=True)


@contextmanager
def unfused() -> Iterator[None]:
    """Within it batch norms and sums are computed where they stand, to read along or to compare: the same to rounding.

    A step of a method begins and ends within it.
    """
    before = _FUSED.set(False)
    try:
        yield
    finally:
        _FUSED.reset(before)


def is_fused() -> bool:
    """Whether batch norms and sums are left to the next neuron layer."""
    return _FUSED.get()


@dataclass(frozen=True)
class Term:
    """One term of a sum, and the batch norm that is still to be applied to it; what is static in time has none."""

    steps: Steps
    normalisation: Normalisation | None = None

    @property
    def parameters(self) -> tuple[Tensor | None, Tensor | None]:
        """Weight γ and bias β of its batch norm, where it has them."""
        return (self.normalisation.norm.weight, self.normalisation.norm.bias) if self.normalisation else (None, None)

    @property
    def requires_grad(self) -> bool:
        return self.steps.requires_grad or any(x is not None and x.requires_grad for x in self.parameters)

    def compute(self) -> Tensor:
        """The term as it stands in the sum, with its graph: [T, B, …], or [B, …] if static."""
        values = self.steps.values()
        if self.normalisation is not None:
            values = self.normalisation(values.flatten(0, 1)).unflatten(0, values.shape[:2])
        return values

    def rate(self) -> Tensor:
        """The time mean [B, …] of the term, with its gradient."""
        rate = self.steps.rate()
        return rate if self.normalisation is None else self.normalisation(rate)


class Current:
    """A sum of terms over T timesteps, which never changes."""

    def __init__(self, terms: Sequence[Term], timesteps: int) -> None:
        self.terms = tuple(terms)
        self.timesteps = timesteps

    @staticmethod
    def of(current: Tensor | Current) -> Current:
        """A sequence [T, B, …] as a sum of one."""
        return current if isinstance(current, Current) else Current([Term(Dense(current))], len(current))

    @property
    def deferred(self) -> bool:
        """Whether a batch norm or a sum is still to be carried out."""
        return len(self.terms) > 1 or self.terms[0].normalisation is not None

    @property
    def static(self) -> bool:
        """Whether it is the same at every timestep."""
        return all(isinstance(term.steps, TimeConstant) for term in self.terms)

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, type and layout of one timestep, [B, …]; its values mean nothing."""
        steps = self._first
        return torch.empty_like(steps.at(0), dtype=steps.dtype) if isinstance(steps, Spikes) else steps.at(0)

    @property
    def shape(self) -> torch.Size:
        """That of one timestep, [B, …]; it makes no tensor."""
        return self._first.at(0).shape

    @property
    def _first(self) -> Steps:
        """The values of the first term that is not the same at every timestep, or of the first."""
        changing = (term.steps for term in self.terms if not isinstance(term.steps, TimeConstant))
        return next(changing, self.terms[0].steps)

    @property
    def requires_grad(self) -> bool:
        return any(term.requires_grad for term in self.terms)

    def first(self, samples: int) -> Current:
        """That of the first samples of the batch; batch norms keep the statistics of all."""
        return Current([Term(term.steps.first(samples), term.normalisation) for term in self.terms], self.timesteps)

    def compute(self) -> Tensor:
        """[T, B, …], or [B, …] if all is static, with its graph."""
        return functools.reduce(operator.add, (term.compute() for term in self.terms))

    def rate(self) -> Tensor:
        """The time mean [B, …], with its gradient."""
        return functools.reduce(operator.add, (term.rate() for term in self.terms))


class CurrentReader:
    """Computes the current of one timestep after the other into one buffer, without a graph."""

    def __init__(self, current: Current) -> None:
        batch = current.like
        affine = [term.normalisation.affine() if term.normalisation else (None, None) for term in current.terms]
        scales = [scale if scale is None else per_channel(scale, batch) for scale, _ in affine]
        shifts = [shift for _, shift in affine if shift is not None]
        self._terms = [(term.steps, scale) for term, scale in zip(current.terms, scales, strict=True)]
        self._shift = per_channel(functools.reduce(operator.add, shifts), batch) if shifts else None
        plain = len(self._terms) == 1 and not shifts
        self._membrane_dtype = membrane_dtype(batch.dtype)
        self._buffer = None if plain else torch.empty_like(batch, dtype=self._membrane_dtype)
        self.dtype = current.terms[0].steps.dtype

    def at(self, t: int) -> Tensor:
        """The current I_t [B, …], float32 at least, good until the next call."""
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


def membrane_dtype(current: torch.dtype) -> torch.dtype:
    """Membranes and what is added up over time are float32 at least, whatever the currents are."""
    return torch.promote_types(current, torch.float32)


def count_dtype(timesteps: int) -> torch.dtype:
    """The smallest type that can hold the number of spikes in T steps."""
    return torch.uint8 if timesteps < 256 else torch.int32
