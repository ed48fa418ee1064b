"""A neuron layer of the rate methods with a backward of its own, batch norm included.

The backward needs the eligibility g, and for a batch norm before the neuron its mean input and its statistics. The
values of c and r are known from the T timesteps, so that the forward here computes nothing.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.autograd.grad_proxy import new_grad_proxy
from rbp_engine.spiking.kernels.neuron_input import Term

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


def grad_proxy(
    terms: Sequence[Term], means: Sequence[Tensor], derivatives: Sequence[Tensor], learnt: Sequence[Tensor]
) -> Tensor:
    """The gradient proxy of a firing rate r [B, …] whose mean current c is the sum of these terms.

    ∂L/∂c = ∂L/∂r ⊙ g with the eligibility g [B, …] (paper, section 4, equation 10), the first of the `derivatives`; the
    others are ∂r/∂θ [B, …] for each θ that is `learnt`: ∂L/∂θ = Σ ∂L/∂r ⊙ ∂r/∂θ. `means` [B, …] are those of the terms
    that a batch norm is applied to, before it.
    """
    inputs: list[Tensor | None] = [*learnt]
    for term in terms:
        inputs += [term.steps.grad_proxy, *term.parameters]
    proxy: Tensor = FiringRate.apply(terms, means, derivatives, *inputs)
    return proxy


class FiringRate(torch.autograd.Function):
    """Gradients go to what is learnt, to the proxies of the terms, and to their batch norms' weights."""

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
