"""A layer of neurons in autograd's graph, with one backward for the neurons and the batch norms before them.

FiringRate        the rate methods: needs the eligibility g, and of each batch norm its mean input and statistics.
                  The values of c and r are known from the T timesteps, so that the forward computes nothing
FireThroughTime   multi-step BPTT: autograd would save every membrane, slope and reset of all T steps. This saves
                  what the layer received, which the backward of a batch norm needs anyway, and computes the
                  membranes again
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.current import Current, Term
from rbp_engine.spiking.neuron_protocol import Neurons
from rbp_engine.spiking.steps import Dense, TimeConstant, new_grad_proxy

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


def rate_proxy(
    terms: Sequence[Term], means: Sequence[Tensor], derivatives: Sequence[Tensor], learnt: Sequence[Tensor]
) -> Tensor:
    """The gradient proxy of a firing rate r [B, …] whose mean current c is the sum of these terms.

    ∂L/∂c = ∂L/∂r ⊙ g with the eligibility g [B, …] (paper, section 4, equation 10), the first of the `derivatives`; the
    others are ∂r/∂θ [B, …] for each θ that is `learnt`: ∂L/∂θ = Σ ∂L/∂r ⊙ ∂r/∂θ. `means` [B, …] are the time means of
    the terms that have a batch norm, before it.
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
        for number, normalisation in enumerate(ctx.normalisations):
            first = 3 + len(by_learnt) + 3 * number
            needed = ctx.needs_input_grad[first : first + 3]
            if normalisation is None:
                gradients += [at_current if needed[0] else None, None, None]
            else:
                gradients += normalisation.gradients(at_current, means.pop(0), needed)
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
        ctx.neurons, ctx.length = neurons, current.length
        return neurons.spikes_only(current)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        terms = [
            Term(TimeConstant(values) if static else Dense(values), normalisation)
            for values, (static, normalisation) in zip(ctx.saved_tensors, ctx.terms, strict=True)
        ]
        at_current, learnt = ctx.neurons.gradient_through_time(Current(terms, ctx.length), grad)
        gradients: list[Tensor | None] = [*learnt]
        for number, term in enumerate(terms):
            first = 2 + len(learnt) + 3 * number
            needed = ctx.needs_input_grad[first : first + 3]
            gradients += _of_term(term, at_current, needed)
        return None, None, *gradients


def _of_term(term: Term, grad: Tensor, needed: tuple[bool, ...]) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the term's values, and of its batch norm's weight and bias."""
    normalisation, values = term.normalisation, term.steps.values()
    if normalisation is None:
        return (grad.sum(0) if isinstance(term.steps, TimeConstant) else grad) if needed[0] else None, None, None
    of_values, of_weight, of_bias = normalisation.gradients(grad.flatten(0, 1), values.flatten(0, 1), needed)
    shaped = None if of_values is None else of_values.unflatten(0, values.shape[:2])
    return shaped, of_weight, of_bias
