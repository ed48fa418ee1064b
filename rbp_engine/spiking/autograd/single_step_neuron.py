"""A neuron layer of the single-step methods with a backward of its own: one operation forward and one backward.

Autograd would launch an operation for each product and sum, and keep the distance to the threshold for the slope. This
keeps the charged membrane u_t, which the next timestep needs as well.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.kernels import lif
from rbp_engine.spiking.lif_parameters import LIFParameters

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


class Charged(NamedTuple):
    """What a layer carries from a timestep to the next: the charged membrane u_t, and OTTT's trace a_t, both [B, …].

    u_t is given back ∂L/∂u_{t+1}, and not its own gradient (`kernels/timestep.py`): only `fire` may use it.
    """

    membrane: Tensor
    trace: Tensor | None = None


def fire(
    current: Sequence[Tensor],
    before: Charged | None,
    parameters: LIFParameters,
    *,
    through_time: bool,
    traced: bool = False,
) -> tuple[Tensor, Charged]:
    """Spikes [B, …] of a timestep with their graph, and what the next one needs; `before` is None at the first.

    The current is the sum of one or two. Without `through_time` no gradient goes to the timestep before.
    """
    membrane, trace = before or (None, None)
    learnt = parameters.learnt
    spikes, charged, trace = FireOnce.apply(membrane, trace, parameters, through_time, *learnt, *current)
    if traced and trace is None:
        trace = spikes.detach()
    return spikes, Charged(charged, trace)


class FireOnce(torch.autograd.Function):
    """Spikes, charged membrane and trace of one timestep.

    Gradients go to the current, to the charged membrane before, and to what the neurons learn.
    """

    @staticmethod
    def forward(
        ctx: Any,
        before: Tensor | None,
        trace: Tensor | None,
        parameters: LIFParameters,
        through_time: bool,
        *learnt_and_current: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        current = learnt_and_current[len(parameters.learnt) :]
        spikes, charged, trace = lif.fire(current, before, trace, parameters)
        learns_decay, _ = parameters.learns
        ctx.save_for_backward(charged, before if learns_decay else None)
        ctx.parameters, ctx.through_time = parameters, through_time
        ctx.terms, ctx.dtype = len(current), spikes.dtype
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*([] if through_time else [charged]), *([] if trace is None else [trace]))
        return spikes, charged, trace

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor | None, grad_later: Tensor | None, _: None) -> Any:
        charged, before = ctx.saved_tensors
        if grad_spikes is None:
            grad_spikes = torch.zeros_like(charged, dtype=ctx.dtype)
        found = lif.gradient_of_timestep(grad_spikes, grad_later, charged, before, ctx.parameters, ctx.through_time)
        for_before = found.charged if ctx.needs_input_grad[0] else None
        return for_before, None, None, None, *found.learnt, *[found.current] * ctx.terms
