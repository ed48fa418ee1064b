"""What four carriers share: batch norms and sums are left to the next neuron (`spiking/fusion.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import Tensor

from rbp_engine.spiking.fusion import Current, CurrentReader, Term, is_fused
from rbp_engine.spiking.linear import Linear
from rbp_engine.spiking.rules.tensor_like import TensorLike
from rbp_engine.spiking.steps import Steps


class DeferredSum(TensorLike):
    """A carrier of a `Current`. A neuron takes it as it is; every other operation calls `resolve()` first."""

    current: Current

    @property
    def like(self) -> Tensor:
        return self.current.like

    @property
    def shape(self) -> torch.Size:
        return self.current.shape

    @property
    def deferred(self) -> bool:
        """Whether a batch norm or a sum is still to be carried out."""
        return self.current.deferred

    def currents_by_step(self, samples: int) -> Iterable[tuple[int, Tensor]]:
        reader = CurrentReader(self.current.first(samples))
        return ((t, reader.at(t)) for t in range(self.current.timesteps))

    def resolve(self) -> Steps:
        """Carry out what is deferred, once: the carrier keeps the result."""
        if not self.deferred:
            return self.current.terms[0].steps
        steps = self._compute()
        self.current = Current([Term(steps)], self.current.timesteps)
        return steps

    def left_to_neurons(self) -> Self:
        """This carrier, whose batch norm the next neuron layer carries out; without fusion it is done at once."""
        if not is_fused():
            self.resolve()
        return self

    def _compute(self) -> Steps:
        """What the deferred sum comes to."""
        raise NotImplementedError


def deferred_terms(operation: Linear, inputs: Sequence[DeferredSum]) -> list[Term] | None:
    """The terms of a sum of two carriers that the next neuron can carry out; None for what has to be computed now.

    An argument that is a sum already is resolved, so that a network that adds on and on does not keep every term alive.
    A sum of two values with nothing deferred is computed now: torch adds them in one go.
    """
    if not is_fused() or not operation.is_plain_sum(inputs) or not any(x.deferred for x in inputs):
        return None
    terms: list[Term] = []
    for x in inputs:
        terms += x.current.terms if len(x.current.terms) == 1 else [Term(x.resolve())]
    return terms
