"""Fusion: batch norms and sums before a neuron layer are deferred, and the loop over time carries them out itself.

A batch norm with known statistics is a scale and a shift per channel. Where a neuron comes next, as it nearly always
does, the loop applies them to what it reads anyway, and one [T, B, …] less is written and read. `unfused` switches it
off.

`Neurons` is a layer of neurons as carriers see it: what it learns, and its loops over time. `spiking/neuron.py` has
those of LIF, `spiking/own_neuron.py` those of user-defined neurons. The layer has a backward of its own, batch
norms before it included:

FiringRate        the rate methods: needs the eligibility g, and of each batch norm its mean input and statistics.
                  The values of c and r are known from the T timesteps, so that the forward computes nothing
FireThroughTime   multi-step BPTT: autograd would save every membrane, slope and reset of all T steps. This saves
                  what the layer received, which the backward of a batch norm needs anyway, and computes the
                  membranes again
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.batch_norm import Normalisation, per_channel
from rbp_engine.spiking.steps import Dense, Spikes, Steps, TimeConstant, new_grad_proxy

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"

_FUSED = ContextVar("fused", default=True)


@contextmanager
def unfused() -> Iterator[None]:
    """Within it batch norms and sums are computed where they stand, for inspection; results agree up to rounding.

    A step of a method must begin and end within it.
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
    """One term of a sum, and the batch norm that is still to be applied to it; what is static in time has none.

    `with_graph` is False where the sum was formed under `torch.no_grad`, wherever it is carried out.
    """

    steps: Steps
    normalisation: Normalisation | None = None
    with_graph: bool = True

    def sources(self, values: Tensor | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """What gets its gradient: these values, or a proxy of them, and weight γ and bias β of its batch norm."""
        known, values = (self.normalisation, values) if self.with_graph else (None, None)
        return values, known.norm.weight if known else None, known.norm.bias if known else None

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
    """A sum of terms over T timesteps, which never changes."""

    def __init__(self, terms: Sequence[Term], timesteps: int) -> None:
        self.terms = tuple(terms if torch.is_grad_enabled() else (replace(term, with_graph=False) for term in terms))
        self.timesteps = timesteps

    @staticmethod
    def of(values: Tensor) -> Current:
        """A sequence [T, B, …] as a sum of one."""
        return Current([Term(Dense(values))], len(values))

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

    def first(self, samples: int | None) -> Current:
        """That of the first samples of the batch, or of all; batch norms keep the statistics of all."""
        terms = [replace(term, steps=term.steps.moved(lambda x: x[:samples])) for term in self.terms]
        return Current(terms, self.timesteps)

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


def full(values: Tensor) -> Tensor:
    """In float32 at least."""
    return values.to(membrane_dtype(values.dtype))


def count_dtype(timesteps: int) -> torch.dtype:
    """The smallest type that can hold the number of spikes in T steps."""
    return torch.uint8 if timesteps < 256 else torch.int32


class RatePass(NamedTuple):
    """What the rate methods keep of the loop over a layer."""

    spikes: Tensor
    """Bytes [T, B, …]."""
    counts: Tensor
    """The number of spikes, [B, …]."""
    derivatives: Sequence[Tensor]
    """Of the rate r, [B, …] each: ∂r/∂c = g, the eligibility, then ∂r/∂θ of each θ that is learnt."""
    means: Sequence[Tensor]
    """The time means [B, …] of the terms that a batch norm is applied to, before it: its backward needs them."""


class ObservedStep(NamedTuple):
    """A timestep of the loop of the rate methods, [B, …] each."""

    spikes: Tensor
    distance: Tensor
    """u_t − V_th, or what a user-defined neuron has for it."""
    eligibility: Tensor
    """σ'_t·ρ_t, whose mean over time is g. For ∂L/∂s_t of BPTT, Σ_t ∂L/∂I_t = Σ_t ∂L/∂s_t ⊙ these."""


class RateLoop(Protocol):
    """The loop of the rate methods, step by step from rest."""

    def step(self, current: Current) -> Tensor:
        """Spikes [B, …] of the next timestep, for a `Current` of one timestep."""

    def observed(self, current: Tensor) -> ObservedStep:
        """The same for a current [B, …], uncompiled, with what probes look at."""

    def finish(self) -> tuple[Tensor, Sequence[Tensor]]:
        """`counts` and `derivatives` of a `RatePass`; it overwrites the sums, so it is called once, at the end."""


class Membrane(NamedTuple):
    """What a layer carries to the next timestep: its state, which is for its neurons alone, and OTTT's trace a_t."""

    state: Any
    trace: Tensor | None


class Neurons(Protocol):
    """A layer of neurons. Currents are [T, B, …], float32 at least inside; every loop begins at rest."""

    @property
    def learnt(self) -> Sequence[Tensor]:
        """What is trained, with its graph: λ and V_th of LIF, the parameters of a user-defined neuron."""

    def at_rest(self, current: Tensor) -> Any:
        """The state before the first timestep, for currents like this one [B, …]."""

    def timestep(self, state: Any, current: Tensor) -> tuple[Tensor, Any]:
        """Spikes [B, …] of one timestep and the state for the next, with their graph."""

    def spikes_only(self, current: Current) -> Tensor:
        """Spikes [T, B, …], without a graph."""

    def rate(self, current: Current) -> RatePass:
        """What the rate methods need, in one loop."""

    def rate_loop(self, like: Current, timesteps: int) -> RateLoop:
        """The same step by step, for currents of the shape, type and device of `like`."""

    def gradient_through_time(self, current: Current, grad: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """BPTT's ∂L/∂I [T, B, …] and the gradients of what is learnt, for ∂L/∂s [T, B, …]."""

    def once(
        self, current: Sequence[Tensor], before: Membrane | None, *, through_time: bool, traced: bool
    ) -> tuple[Tensor, Membrane]:
        """Spikes [B, …] of one timestep with their graph, and what the next one gets, with a trace if `traced`.

        The current is the sum of one or two; `before` is what the timestep before gave, None at the first. Without
        `through_time` no gradient goes there.
        """


def rate_proxy(
    terms: Sequence[Term], means: Sequence[Tensor], derivatives: Sequence[Tensor], learnt: Sequence[Tensor]
) -> Tensor:
    """The gradient proxy of a firing rate r [B, …] whose mean current c is the sum of these terms.

    ∂L/∂c = ∂L/∂r ⊙ g with the eligibility g [B, …] (paper, section 4, equation 10), the first of the `derivatives`; the
    others are ∂r/∂θ [B, …] for each θ that is `learnt`: ∂L/∂θ = Σ ∂L/∂r ⊙ ∂r/∂θ. `means` [B, …] are those of the terms
    that a batch norm is applied to, before it.
    """
    inputs = [x for term in terms for x in term.sources(term.steps.grad_proxy)]
    return FiringRate.apply(terms, means, derivatives, *learnt, *inputs)


class FiringRate(torch.autograd.Function):
    """The firing rate r of a layer. Its backward is ∂L/∂c = g ⊙ ∂L/∂r (paper, section 4), then that of the batch norm
    of each term of c, at the term's time mean; and ∂L/∂θ = Σ ∂r/∂θ ⊙ ∂L/∂r of each θ that is learnt."""

    @staticmethod
    def forward(
        ctx: Any,
        terms: Sequence[Term],
        means: Sequence[Tensor],
        derivatives: Sequence[Tensor],
        *inputs: Tensor | None,
    ) -> Tensor:
        ctx.normalisations = [term.normalisation for term in terms]
        ctx.learnt = [(value.shape, value.dtype) for value in inputs[: len(derivatives) - 1] if value is not None]
        ctx.save_for_backward(*derivatives, *means)
        return new_grad_proxy(derivatives[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        eligibility, *others = ctx.saved_tensors
        by_learnt, means = others[: len(ctx.learnt)], others[len(ctx.learnt) :]
        gradients: list[Tensor | None] = [
            by_value.mul_(grad).to(dtype).sum_to_size(shape)
            for by_value, (shape, dtype) in zip(by_learnt, ctx.learnt, strict=True)
        ]
        # In place: nothing else reads g, and it has the layer's memory layout, which a pooling's gradient may not have.
        at_current = eligibility.mul_(grad)
        for number, known in enumerate(ctx.normalisations):
            first = 3 + len(by_learnt) + 3 * number
            needed = ctx.needs_input_grad[first : first + 3]
            if known is None:
                gradients += [at_current if needed[0] else None, None, None]
            else:
                gradients += known.gradients(at_current, means.pop(0), needed)
        return None, None, None, *gradients


def spikes_through_time(current: Current, neurons: Neurons) -> Tensor:
    """Spikes [T, B, …] from rest, with the graph of BPTT where anything of it has one."""
    inputs = [x for term in current.terms for x in term.sources(term.steps.values())]
    return FireThroughTime.apply(current, neurons, *neurons.learnt, *inputs)


class FireThroughTime(torch.autograd.Function):
    """Spikes of a `Current`.

    Gradients go to what the neurons learn, to the values of the current's terms, and to their batch norms' weights.
    """

    @staticmethod
    def forward(ctx: Any, current: Current, neurons: Neurons, *inputs: Tensor | None) -> Tensor:
        ctx.save_for_backward(*(term.steps.values() for term in current.terms))
        ctx.terms = [(isinstance(term.steps, TimeConstant), term.normalisation) for term in current.terms]
        ctx.neurons, ctx.timesteps = neurons, current.timesteps
        return neurons.spikes_only(current)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        terms = [
            Term(TimeConstant(values) if static else Dense(values), known)
            for values, (static, known) in zip(ctx.saved_tensors, ctx.terms, strict=True)
        ]
        at_current, learnt = ctx.neurons.gradient_through_time(Current(terms, ctx.timesteps), grad)
        gradients: list[Tensor | None] = [*learnt]
        for number, term in enumerate(terms):
            first = 2 + len(learnt) + 3 * number
            needed = ctx.needs_input_grad[first : first + 3]
            gradients += _of_term(term, at_current, needed)
        return None, None, *gradients


def _of_term(term: Term, grad: Tensor, needed: tuple[bool, ...]) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the term's values, and of its batch norm's weight and bias."""
    known, values = term.normalisation, term.steps.values()
    if known is None:
        return (grad.sum(0) if isinstance(term.steps, TimeConstant) else grad) if needed[0] else None, None, None
    of_values, of_weight, of_bias = known.gradients(grad.flatten(0, 1), values.flatten(0, 1), needed)
    shaped = None if of_values is None else of_values.unflatten(0, values.shape[:2])
    return shaped, of_weight, of_bias
