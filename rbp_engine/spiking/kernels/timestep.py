"""One timestep of LIF neurons and its gradient, for the methods whose loop over time is outside the network.

The equations are those of `kernels/lif.py`. Between timesteps only the charged membrane u_t is kept: the slope of its
spikes, its reset and its leak are functions of it. So timestep t+1 resets u_t on the way forward, and timestep t goes
back through that reset; what it gets from t+1 is ∂L/∂u_{t+1}, which is ∂L/∂I_{t+1}:

    ∂L/∂v_t = λ·∂L/∂u_{t+1}        ∂L/∂u_t = (∂L/∂s_t + ∂L/∂v_t·∂v_t/∂s_t)·σ'_t + ∂L/∂v_t·∂v_t/∂u_t

The functions work in place on nothing, so that both kernels share them: the eager one calls them with [B, …], the
compiled one with [F] (`kernels/layout.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rbp_engine.spiking.lif_parameters import Neuron


def fire(
    current: Sequence[Tensor], before: Tensor | None, trace: Tensor | None, neuron: Neuron
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Spikes s_t, the charged membrane u_t, and OTTT's trace a_t = λ·a_{t−1} + s_t.

    The current I_t is the sum of one or two. `before` is u_{t−1}, None at the first timestep; `trace` is a_{t−1}, None
    where there is none.
    """
    dtype = neuron.dtype
    first, *others = current
    # It is the caller's, and u_t must not be the same tensor.
    total = first.to(dtype, copy=before is None and not others)
    for other in others:
        total = total + other.to(dtype)
    charged = charge(None if before is None else reset(before, fired(before, neuron), neuron), total, neuron)
    spikes = fired(charged, neuron)
    if trace is not None:
        trace = (neuron.decay * trace.to(dtype) + spikes).to(trace.dtype)
    return spikes.to(first.dtype), charged, trace


def charge(membrane: Tensor | None, current: Tensor, neuron: Neuron) -> Tensor:
    """The membrane u_t from v_{t−1}, or from rest; the current has the membrane's type."""
    decay, v_reset = neuron.decay, neuron.v_reset
    if membrane is None:
        return v_reset + current if v_reset else current
    if not v_reset:
        return decay * membrane + current
    return v_reset + decay * (membrane - v_reset) + current


def fired(charged: Tensor, neuron: Neuron) -> Tensor:
    """The spikes s_t of a charged membrane, in its type."""
    return (charged >= neuron.threshold).to(charged.dtype)


def reset(charged: Tensor, spikes: Tensor, neuron: Neuron) -> Tensor:
    """The membrane v_t from u_t."""
    if neuron.v_reset is None:
        return charged - neuron.threshold * spikes
    return torch.where(spikes > 0, neuron.v_reset, charged)


class GradientOfTimestep(NamedTuple):
    """What a timestep passes on."""

    current: Tensor
    """∂L/∂I_t [B, …]."""
    charged: Tensor | None
    """The same as ∂L/∂u_t, in the type of the membrane, for the timestep before; None if it needs none."""
    learnt: list[Tensor | None]
    """Of λ and V_th, those that are learnt: tensors [B, …] whose sums are their gradients."""


def gradient(
    grad_spikes: Tensor,
    grad_later: Tensor | None,
    charged: Tensor,
    before: Tensor | None,
    neuron: Neuron,
    through_time: bool,
) -> GradientOfTimestep:
    """The gradients for ∂L/∂s_t = `grad_spikes`, and for ∂L/∂u_{t+1} = `grad_later`, None if none comes from there.

    `charged` is u_t. λ's gradient needs `before`, u_{t−1}; it is None at the first timestep, where λ has none.
    With `through_time` there is a gradient for the timestep before.
    """
    threshold, v_reset, dtype = neuron.threshold, neuron.v_reset, grad_spikes.dtype
    learns_decay, learns_threshold = neuron.learns
    grad_membrane = None if grad_later is None else grad_later * neuron.decay
    grad_spikes = grad_spikes.to(charged.dtype)
    if grad_membrane is not None and not neuron.detach_reset:
        grad_spikes = grad_spikes + grad_membrane * (-threshold if v_reset is None else v_reset - charged)
    at_charged = by_spikes = neuron.times_slope(grad_spikes, charged - threshold)
    if grad_membrane is not None:
        survives = grad_membrane if v_reset is None else grad_membrane * (1.0 - fired(charged, neuron))
        at_charged = survives + by_spikes
    learnt: list[Tensor | None] = []
    if learns_decay:
        learnt.append(None if before is None else at_charged * _from_rest(before, neuron))
    if learns_threshold:
        by_threshold = -by_spikes
        if grad_membrane is not None and v_reset is None:
            by_threshold = by_threshold - grad_membrane * fired(charged, neuron)
        learnt.append(by_threshold)
    return GradientOfTimestep(at_charged.to(dtype), at_charged if through_time else None, learnt)


def _from_rest(charged: Tensor, neuron: Neuron) -> Tensor:
    """v_t − v_rest."""
    membrane = reset(charged, fired(charged, neuron), neuron)
    return membrane - neuron.v_reset if neuron.v_reset else membrane
