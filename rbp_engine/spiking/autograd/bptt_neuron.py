"""A neuron layer of multi-step BPTT with a backward of its own, batch norm included.

Autograd would save every membrane, slope and reset of all T steps. This saves what the layer received, which the
backward of a batch norm needs anyway, and computes the membranes again.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.kernels import lif
from rbp_engine.spiking.kernels.neuron_input import Current, Term
from rbp_engine.spiking.kernels.steps import Dense, Static
from rbp_engine.spiking.lif_parameters import LIFParameters

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


def fire(current: Current, parameters: LIFParameters) -> Tensor:
    """Spikes [T, B, …] from rest, with the graph of BPTT."""
    inputs: list[Tensor | None] = [*parameters.learnt]
    for term in current.terms:
        inputs += [term.steps.values(), *term.parameters]
    spikes: Tensor = FireThroughTime.apply(current, parameters, *inputs)
    return spikes


class FireThroughTime(torch.autograd.Function):
    """Spikes of a `Current`.

    Gradients go to λ and V_th where they are learnt, to the values of its terms, and to their batch norms' weights.
    """

    @staticmethod
    def forward(ctx: Any, current: Current, parameters: LIFParameters, *inputs: Tensor | None) -> Tensor:
        ctx.save_for_backward(*(term.steps.values() for term in current.terms))
        ctx.terms = [(isinstance(term.steps, Static), term.normalisation) for term in current.terms]
        ctx.parameters, ctx.timesteps = parameters, current.timesteps
        return lif.spikes_only(current, parameters)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        terms = [
            Term(Static(values) if static else Dense(values), known)
            for values, (static, known) in zip(ctx.saved_tensors, ctx.terms, strict=True)
        ]
        at_current, learnt = lif.gradient_through_time(Current(terms, ctx.timesteps), grad, ctx.parameters)
        gradients: list[Tensor | None] = [*learnt]
        for number, term in enumerate(terms):
            first = 2 + len(learnt) + 3 * number
            needed = ctx.needs_input_grad[first : first + 3]
            gradients += gradients_of_term(term, at_current, needed)
        return None, None, *gradients


def gradients_of_term(
    term: Term, grad: Tensor, needed: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the term's values, and of its batch norm's weight and bias."""
    known, values = term.normalisation, term.steps.values()
    if known is None:
        return (grad.sum(0) if isinstance(term.steps, Static) else grad) if needed[0] else None, None, None
    of_values, of_weight, of_bias = known.gradients(grad.flatten(0, 1), values.flatten(0, 1), needed)
    shaped = None if of_values is None else of_values.unflatten(0, values.shape[:2])
    return shaped, of_weight, of_bias
