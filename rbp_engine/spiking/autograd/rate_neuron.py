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
    terms: Sequence[Term],
    means: Sequence[Tensor],
    eligibility: Tensor,
    learnt: Sequence[Tensor] = (),
    by_learnt: Sequence[Tensor] = (),
) -> Tensor:
    """The gradient proxy of a firing rate r [B, …] whose mean current c is the sum of these terms.

    ∂L/∂c = ∂L/∂r ⊙ g with the `eligibility` g [B, …] (paper, section 4, equation 10). `means` [B, …] are those of the
    terms that a batch norm is applied to, before it. Of λ and V_th, `learnt` has those that are learnt, and `by_learnt`
    ∂r/∂λ and ∂r/∂V_th [B, …]: ∂L/∂λ = Σ ∂L/∂r ⊙ ∂r/∂λ.
    """
    inputs: list[Tensor | None] = [*learnt]
    for term in terms:
        inputs += [term.steps.grad_proxy, *term.parameters]
    proxy: Tensor = FiringRate.apply(terms, means, eligibility, by_learnt, *inputs)
    return proxy


class FiringRate(torch.autograd.Function):
    """Gradients go to λ and V_th if they are learnt, to the proxies of the terms, and to their batch norms' weights."""

    @staticmethod
    def forward(
        ctx: Any,
        terms: Sequence[Term],
        means: Sequence[Tensor],
        eligibility: Tensor,
        by_learnt: Sequence[Tensor],
        *inputs: Tensor | None,
    ) -> Tensor:
        ctx.normalisations = [term.normalisation for term in terms]
        ctx.learnt = [(value.shape, value.dtype) for value in inputs[: len(by_learnt)] if value is not None]
        ctx.save_for_backward(eligibility, *by_learnt, *means)
        return new_grad_proxy(eligibility)

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
            first = 4 + len(by_learnt) + 3 * number
            needed = ctx.needs_input_grad[first : first + 3]
            if known is None:
                gradients += [at_current if needed[0] else None, None, None]
            else:
                gradients += known.gradients(at_current, means.pop(0), needed)
        return None, None, None, None, *gradients
