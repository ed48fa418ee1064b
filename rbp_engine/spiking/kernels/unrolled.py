"""The loops of `spiking/kernels/lif.py` as torch.compile takes them: a neuron layer makes one pass over memory.

The same equations, unrolled over time and without in-place operations. inductor turns them into C++ on a CPU and into
Triton on a GPU. The operations come in the order of the eager loops, so that float32 gives the same bits on a CPU.

The loops see a timestep as [F], flattened by `Layout` (`kernels/layout.py`); numbers that differ between channels, [C],
broadcast against it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rbp_engine.spiking.kernels.layout import FlatCurrent
from rbp_engine.spiking.kernels.neuron_input import count_dtype
from rbp_engine.spiking.kernels.timestep import charge, fired, reset
from rbp_engine.spiking.kernels.traces import Fired, advanced
from rbp_engine.spiking.lif_parameters import Neuron


class Affine(NamedTuple):
    """The batch norms of a current: the scale [C] of each term, None for 1, and all their shifts together, [C]."""

    scales: Sequence[Tensor | None]
    shift_C: Tensor | None


def spikes_only(current: FlatCurrent, neuron: Neuron) -> Tensor:
    """Spikes [T, F]."""
    spikes, membrane_F, affine = [], None, _affine(current)
    for t in range(current.timesteps):
        charged_F = charge(membrane_F, _current_at(current, affine, neuron.dtype, t), neuron)
        fired_F = fired(charged_F, neuron)
        membrane_F = reset(charged_F, fired_F, neuron)
        spikes.append(fired_F.to(current.dtype))
    return torch.stack(spikes)


def rate(
    current: FlatCurrent,
    neuron: Neuron,
    divisor: Tensor | float,
    means_of: Sequence[int],
    spikes: Sequence[Tensor],
    saved: Sequence[Tensor],
) -> Tensor:
    """Counts of spikes [F]. The spikes go into T times [F] bytes; eligibility, the means of terms and by what is learnt
    into `saved`, [F] each. `divisor` is T, by which their sums are divided.
    """
    membrane_F = None
    counts_F: Any = 0.0
    eligibility_F: Any = 0.0
    rho: Any = 1.0
    traces: Any = [0.0] * (2 * sum(neuron.learns))
    affine = _affine(current)
    for t in range(current.timesteps):
        now = _fire(membrane_F, _current_at(current, affine, neuron.dtype, t), neuron)
        membrane_F = now.membrane
        counts_F = counts_F + now.spikes
        eligibility_F = eligibility_F + now.slope * rho
        rho = 1.0 + rho * now.reset_jacobian * neuron.decay
        traces = advanced(traces, now, neuron)
        spikes[t].copy_(now.spikes)
    means = (_sum_of_steps(current.terms[number].values, neuron.dtype) for number in means_of)
    for result_F, total_F in zip(saved, (eligibility_F, *means, *traces[1::2]), strict=True):
        result_F.copy_(total_F / divisor)
    counts: Tensor = counts_F.to(count_dtype(current.timesteps))
    return counts


def rate_step(
    current: FlatCurrent,
    neuron: Neuron,
    membrane_F: Tensor,
    counts_F: Tensor,
    eligibility_F: Tensor,
    rho: Tensor,
    *traces: Tensor,
) -> Tensor:
    """Spikes [F] of one timestep; the state changes in place. ρ is [F], or one number, which stays as it is."""
    now = _fire(membrane_F, _current_at(current, _affine(current), neuron.dtype, 0), neuron)
    counts_F.add_(now.spikes.to(counts_F.dtype))
    eligibility_F.add_(now.slope * rho)
    if rho.ndim:
        rho.copy_(1.0 + rho * now.reset_jacobian * neuron.decay)
    after = advanced(traces, now, neuron)
    membrane_F.copy_(now.membrane)
    for trace_F, after_F in zip(traces, after, strict=True):
        trace_F.copy_(after_F)
    return now.spikes.to(current.dtype)


def _fire(membrane_F: Tensor | None, current_F: Tensor, neuron: Neuron) -> Fired:
    """One timestep from the membrane before it."""
    charged_F = charge(membrane_F, current_F, neuron)
    fired_F = fired(charged_F, neuron)
    slope_F = neuron.slope(charged_F - neuron.threshold)
    reset_jacobian: Any
    if neuron.v_reset is None:
        reset_jacobian = 1.0 if neuron.detach_reset else 1.0 - neuron.threshold * slope_F
    elif neuron.detach_reset:
        reset_jacobian = 1.0 - fired_F
    else:
        reset_jacobian = 1.0 - fired_F - (charged_F - neuron.v_reset) * slope_F
    return Fired(charged_F, fired_F, slope_F, reset(charged_F, fired_F, neuron), reset_jacobian)


def gradient_through_time(current: FlatCurrent, neuron: Neuron, grad_TF: Tensor) -> tuple[Tensor, list[Tensor]]:
    """∂L/∂I [T, F] for ∂L/∂s [T, F], and [F] each whose sums are ∂L/∂λ and ∂L/∂V_th where they are learnt."""
    threshold, v_reset = neuron.threshold, neuron.v_reset
    learns_decay, learns_threshold = neuron.learns
    charged, membranes, membrane_F, affine = [], [], None, _affine(current)
    for t in range(current.timesteps):
        charged.append(charge(membrane_F, _current_at(current, affine, neuron.dtype, t), neuron))
        membrane_F = reset(charged[t], fired(charged[t], neuron), neuron)
        membranes.append(membrane_F)
    gradients: list[Tensor] = []
    grad_membrane: Any = 0.0
    by_decay_F, by_threshold_F = torch.zeros_like(charged[0]), torch.zeros_like(charged[0])
    for t in reversed(range(current.timesteps)):
        fired_F, distance_F = fired(charged[t], neuron), charged[t] - threshold
        grad_spikes_F = grad_TF[t].to(distance_F.dtype)
        if not neuron.detach_reset:
            grad_spikes_F = grad_spikes_F + grad_membrane * (-threshold if v_reset is None else v_reset - charged[t])
        by_spikes_F = neuron.slope(distance_F) * grad_spikes_F
        if learns_threshold:
            by_threshold_F = by_threshold_F - by_spikes_F
            if v_reset is None:
                by_threshold_F = by_threshold_F - grad_membrane * fired_F
        if v_reset is not None:
            grad_membrane = grad_membrane * (1.0 - fired_F)
        gradients.append(grad_membrane + by_spikes_F)
        if learns_decay and t > 0:
            from_rest_F = membranes[t - 1] - v_reset if v_reset else membranes[t - 1]
            by_decay_F = by_decay_F + gradients[-1] * from_rest_F
        grad_membrane = gradients[-1] * neuron.decay
    learnt = [total_F for total_F, learns in ((by_decay_F, learns_decay), (by_threshold_F, learns_threshold)) if learns]
    return torch.stack([gradient.to(grad_TF.dtype) for gradient in reversed(gradients)]), learnt


def _sum_of_steps(values: Tensor | Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    total_F = values[0].to(dtype)
    for t in range(1, len(values)):
        total_F = total_F + values[t]
    return total_F


def _affine(current: FlatCurrent) -> Affine:
    """The batch norms of a current, in the order of operations of `Normalisation.affine`."""
    scales: list[Tensor | None] = []
    shift_C: Tensor | None = None
    for _, norm, _ in current.terms:
        if norm is None:
            scales.append(None)
            continue
        inverse_C = norm.known_inverse_C
        if inverse_C is None:
            assert norm.variance_C is not None
            inverse_C = torch.rsqrt(norm.variance_C + norm.eps)
        scale_C = inverse_C if norm.weight_C is None else inverse_C * norm.weight_C
        by_mean_C = norm.mean_C * scale_C
        this_C = -by_mean_C if norm.bias_C is None else norm.bias_C - by_mean_C
        scales.append(scale_C)
        shift_C = this_C if shift_C is None else shift_C + this_C
    return Affine(scales, shift_C)


def _current_at(current: FlatCurrent, affine: Affine, dtype: torch.dtype, t: int) -> Tensor:
    """I_t [F]: batch norms and the sum are carried out here."""
    total_F: Tensor | None = None
    for (values, _, static), scale_C in zip(current.terms, affine.scales, strict=True):
        value_F = (values if static and isinstance(values, Tensor) else values[t]).to(dtype)
        value_F = value_F if scale_C is None else value_F * scale_C
        total_F = value_F if total_F is None else total_F + value_F
    assert total_F is not None
    return total_F if affine.shift_C is None else total_F + affine.shift_C
