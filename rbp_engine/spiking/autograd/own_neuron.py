"""A layer of neurons of one's own in the graph of multi-step BPTT; see `bptt_neuron.py`."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.autograd.bptt_neuron import gradients_of_term
from rbp_engine.spiking.kernels import own_loop
from rbp_engine.spiking.kernels.neuron_input import Current, Term
from rbp_engine.spiking.kernels.steps import Dense, Static
from rbp_engine.spiking.own_neuron import OwnNeuron

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


def fire(current: Current, neuron: OwnNeuron[Any]) -> Tensor:
    """Spikes [T, B, …] from rest, with the graph of BPTT."""
    inputs: list[Tensor | None] = []
    for term in current.terms:
        inputs += [term.steps.values(), *term.parameters]
    spikes: Tensor = FireOwnThroughTime.apply(current, neuron, *inputs, *neuron.learnable.values())
    return spikes


class FireOwnThroughTime(torch.autograd.Function):
    """Spikes of a `Current`; gradients go to its terms, to the weights of their batch norms, and to the neuron.

    It saves what the layer received, and runs the timesteps again in the backward (`bptt_neuron.FireThroughTime`).
    """

    @staticmethod
    def forward(ctx: Any, current: Current, neuron: OwnNeuron[Any], *inputs: Tensor | None) -> Tensor:
        ctx.save_for_backward(*(term.steps.values() for term in current.terms))
        ctx.terms = [(isinstance(term.steps, Static), term.normalisation) for term in current.terms]
        ctx.neuron, ctx.timesteps = neuron, current.timesteps
        return own_loop.spikes_only(current, neuron)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        terms = [
            Term(Static(values) if static else Dense(values), known)
            for values, (static, known) in zip(ctx.saved_tensors, ctx.terms, strict=True)
        ]
        at_current, at_parameters = own_loop.gradient_through_time(Current(terms, ctx.timesteps), grad, ctx.neuron)
        gradients: list[Tensor | None] = []
        for number, term in enumerate(terms):
            needed = ctx.needs_input_grad[2 + 3 * number : 5 + 3 * number]
            gradients += gradients_of_term(term, at_current, needed)
        return None, None, *gradients, *at_parameters
