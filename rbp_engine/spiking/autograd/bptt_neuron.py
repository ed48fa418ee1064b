"""A neuron layer of multi-step BPTT with a backward of its own, batch norm included.

Autograd would save every membrane, slope and reset of all T steps. This saves what the layer received, which the
backward of a batch norm needs anyway, and computes the membranes again.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.kernels.neuron_input import Current, Term
from rbp_engine.spiking.kernels.neurons import Neurons
from rbp_engine.spiking.kernels.steps import Dense, TimeConstant

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


def fire(current: Current, neurons: Neurons) -> Tensor:
    """Spikes [T, B, …] from rest, with the graph of BPTT."""
    inputs: list[Tensor | None] = [*neurons.learnt]
    for term in current.terms:
        inputs += [term.steps.values(), *term.parameters]
    spikes: Tensor = FireThroughTime.apply(current, neurons, *inputs)
    return spikes


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
