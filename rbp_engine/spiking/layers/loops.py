"""One LIF neuron at one timestep, and the loops over time of a layer of them, for all methods and both kernels.

    u_t = v_rest + λ·(v_{t−1} − v_rest) + I_t       charge
    s_t = H(u_t − V_th)                             fire
    v_t = u_t − V_th·s_t                            soft reset, v_rest = 0
    v_t = (1 − s_t)·u_t + s_t·v_reset               hard reset, v_rest = v_reset

`LIFNeurons.timestep` computes all of it with autograd's graph (`spiking/neuron.py`). The loops have their backward
passes written out, and are made of the functions below, which build no graph; those that end in `_` change the membrane
[B, …] in place. The loops run as they stand, or by torch.compile.

They see a layer as its `Layout` hands it over: a timestep is [F], which is [B, …] as it is ("eager"), or flat
("compiled", `layers/layout.py`). inductor unrolls a loop over time and makes one pass over memory of it; on a CPU both
give the same bits, with one exception: where a layer's size does not fill the processor's vectors, an exponential in a
slope may differ in its last place, as it does within torch's own loops.

Currents are read with their batch norms and sums (`spiking/current.py`). Membranes and sums are float32 at least.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from rbp_engine.spiking.current import Current, CurrentReader
from rbp_engine.spiking.dtypes import count_dtype, membrane_dtype
from rbp_engine.spiking.steps import empty_steps


class Neuron(NamedTuple):
    """A layer's neurons as the loops take them: λ and V_th have no graph, and the surrogate is its slope.

    A number may be given for each channel. `learns` says whether λ and V_th are learnt. `dtype` is the type of
    membranes and currents. It is a tuple because torch.compile then guards only the values that a loop uses.
    """

    decay: Tensor | float
    threshold: Tensor | float
    v_reset: float | None
    detach_reset: bool
    learns: tuple[bool, bool]
    surrogate: Callable[..., Tensor]
    arguments: dict[str, float]
    dtype: torch.dtype

    def slope(self, charged: Tensor) -> Tensor:
        """σ'_t = σ'(u_t − V_th)."""
        return self.surrogate(charged - self.threshold, **self.arguments)


def charge_(membrane: Tensor | None, current: Tensor, neuron: Neuron) -> Tensor:
    """v_{t−1} becomes u_t; None is a membrane at rest. The current has the membrane's type."""
    if membrane is None:
        return current + neuron.v_reset if neuron.v_reset else current.clone()
    if neuron.v_reset:
        return membrane.sub_(neuron.v_reset).mul_(neuron.decay).add_(neuron.v_reset).add_(current)
    return membrane.mul_(neuron.decay).add_(current)


def fired(charged: Tensor, neuron: Neuron) -> Tensor:
    """s_t, in the type of the membrane."""
    return torch.ge(charged, neuron.threshold, out=torch.empty_like(charged))


def reset_(charged: Tensor, spikes: Tensor, neuron: Neuron) -> None:
    """u_t becomes v_t."""
    if neuron.v_reset is not None:
        charged.masked_fill_(spikes > 0, neuron.v_reset)
    elif isinstance(neuron.threshold, Tensor):
        charged.sub_(neuron.threshold * spikes)
    else:
        charged.sub_(spikes, alpha=neuron.threshold)


def survives(charged: Tensor, spikes: Tensor, slope: Tensor, neuron: Neuron) -> Any:
    """∂v_t/∂u_t: how much of the charged membrane is there after the reset; ∂u_{t+1}/∂u_t is λ times this."""
    if neuron.v_reset is None:
        return 1.0 if neuron.detach_reset else 1.0 - neuron.threshold * slope
    if neuron.detach_reset:
        return 1.0 - spikes
    return 1.0 - spikes - (charged - neuron.v_reset) * slope


def reset_by_spike(charged: Tensor, neuron: Neuron) -> Any:
    """∂v_t/∂s_t, where the reset is in the gradient."""
    return -neuron.threshold if neuron.v_reset is None else neuron.v_reset - charged


def reset_by_threshold(charged: Tensor, spikes: Tensor, slope: Tensor, neuron: Neuron) -> Any:
    """∂v_t/∂V_th at a given u_t."""
    if neuron.v_reset is None:
        return -spikes if neuron.detach_reset else neuron.threshold * slope - spikes
    return 0.0 if neuron.detach_reset else (charged - neuron.v_reset) * slope


def from_rest(charged: Tensor, neuron: Neuron) -> Tensor:
    """v_t − v_rest, from u_t."""
    membrane = charged.clone()
    reset_(membrane, fired(charged, neuron), neuron)
    return membrane.sub_(neuron.v_reset) if neuron.v_reset else membrane


def advanced_sensitivities(
    before: Sequence[Tensor], charged: Tensor, spikes: Tensor, slope: Tensor, neuron: Neuron
) -> list[Tensor]:
    """The effect of learnt λ and V_th up to timestep t: ∂u/∂λ, ∂u/∂V_th, and sums for ∂r/∂λ, ∂r/∂V_th.

        e_1 = 0,  e_{t+1} = ∂u_{t+1}/∂λ = (v_t − v_rest) + λ·∂v_t/∂u_t·e_t           ∂r/∂λ = mean_t σ'_t·e_t
        f_1 = 0,  f_{t+1} = ∂u_{t+1}/∂V_th = λ·(∂v_t/∂u_t·f_t + ∂v_t/∂V_th)          ∂r/∂V_th = mean_t σ'_t·(f_t − 1)

    They are [e, Σ_t σ'_t·e_t] if λ is learnt, then [f, Σ_t σ'_t·(f_t − 1)] if V_th is, [B, …] each. Like ρ they go
    forward in time, so their memory does not grow with T.
    """
    after: list[Tensor] = []
    kept = survives(charged, spikes, slope, neuron)
    learns_decay, learns_threshold = neuron.learns
    if learns_decay:
        moved, total = before[:2]
        after += [moved * kept * neuron.decay + from_rest(charged, neuron), total + slope * moved]
    if learns_threshold:
        moved, total = before[-2:]
        later = (moved * kept + reset_by_threshold(charged, spikes, slope, neuron)) * neuron.decay
        after += [later, total + slope * (moved - 1.0)]
    return after


class Reader(Protocol):
    """Computes the current of one timestep after the other."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of the layer's values."""

    def at(self, t: int) -> Tensor:
        """I_t [F], float32 at least, valid until the next call."""

    def values_at(self, term: int, t: int) -> Tensor:
        """The values [F] of a term, before its batch norm."""


class Layout:
    """A layer's tensors as the loops take them: as they are."""

    def __init__(self, like: Tensor) -> None:
        """`like` [B, …] is a timestep."""
        self.dtype = membrane_dtype(like.dtype)

    def reader(self, current: Current) -> Reader:
        """The current, [F] at each timestep."""
        return CurrentReader(current)

    def flat(self, values: Tensor) -> Tensor:
        """[T, B, …] as [T, F], or [B, …] as [F]."""
        return values

    def back(self, values: Tensor) -> Tensor:
        """[T, F] as [T, B, …], or [F] as [B, …]: a view."""
        return values

    def empty_steps(self, batch: Tensor, timesteps: int, dtype: torch.dtype | None = None) -> Tensor:
        """Uninitialised [T, F] of the type of `batch`, or another."""
        return empty_steps(batch, timesteps, dtype)

    def number(self, number: Tensor | float) -> Tensor | float:
        """A neuron's number, [] or [C, 1, …] where it is learnt, as it broadcasts against [F]; without its graph."""
        return number.detach() if isinstance(number, Tensor) else number

    def for_each_channel(self, number: Tensor | float) -> Tensor | float:
        """The same, as [C] where a compiled loop needs that."""
        return self.number(number)


def spikes_only(current: Reader, neuron: Neuron, spikes: Sequence[Tensor]) -> None:
    """Write the spikes of each timestep, T times [F]."""
    membrane_F = None
    for t, spikes_t in enumerate(spikes):
        membrane_F = charge_(membrane_F, current.at(t), neuron)
        torch.ge(membrane_F, neuron.threshold, out=spikes_t)
        reset_(membrane_F, spikes_t, neuron)


def rate(
    current: Reader,
    neuron: Neuron,
    divisor: Tensor | float,
    means_of: Sequence[int],
    spikes: Sequence[Tensor],
    counts_F: Tensor | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """The loop of the rate methods: counts of spikes [F], then the time means g, ∂r/∂θ of what is learnt, and of terms.

    The spikes of each timestep are written, T times [F] bytes. `divisor` is T, by which sums are divided, and
    `means_of` has the numbers of the terms whose time means are wanted. Spikes are counted in `counts_F`, which holds
    zeros; without it, in the type of membranes, since inductor would otherwise write them twice.
    """
    membrane_F = None
    state = state_before(spikes[0], neuron)
    rho: Tensor | float = rho_before(spikes[0], neuron)
    sums = [torch.zeros_like(state.eligibility) for _ in means_of]
    for t, spikes_t in enumerate(spikes):
        membrane_F = charge_(membrane_F, current.at(t), neuron)
        fired_F, _ = fire_rate(membrane_F, state, rho, neuron)
        rho = advanced(rho, neuron)
        spikes_t.copy_(fired_F)
        if counts_F is None:
            counts_F = fired_F
        else:
            counts_F.add_(spikes_t if counts_F.dtype == spikes_t.dtype else fired_F.to(counts_F.dtype))
        for number, total_F in zip(means_of, sums, strict=True):
            total_F.add_(current.values_at(number, t))
    totals = [state.eligibility, *state.sensitivities[1::2], *sums]
    assert counts_F is not None
    return counts_F.to(count_dtype(len(spikes))), [total_F.div_(divisor) for total_F in totals]


class RateState(NamedTuple):
    """What the loop of the rate methods adds up from timestep to timestep, [F] each; it changes in place."""

    eligibility: Tensor
    """Σ_t σ'_t·ρ_t, whose mean g multiplies the rate's gradient on its way to the mean current (paper, section 4)."""
    sensitivities: Sequence[Tensor]


def state_before(like: Tensor, neuron: Neuron) -> RateState:
    """The sums before the first timestep."""
    sums = [torch.zeros_like(like, dtype=neuron.dtype) for _ in range(1 + 2 * sum(neuron.learns))]
    return RateState(sums[0], sums[1:])


def rho_before(like: Tensor, neuron: Neuron) -> Tensor | float:
    """ρ_1: one number for all neurons under the soft, detached reset, where ∂u_{t+1}/∂u_t = λ."""
    learns_decay, _ = neuron.learns
    is_one = neuron.v_reset is None and neuron.detach_reset and not learns_decay
    return 1.0 if is_one else torch.ones_like(like, dtype=neuron.dtype)


def fire_rate(membrane_F: Tensor, state: RateState, rho: Tensor | float, neuron: Neuron) -> tuple[Tensor, Tensor]:
    """The spikes of the charged membrane and σ'_t·ρ_t, both [F]. Adds to the eligibility and the sensitivities, and
    resets the membrane.

        ρ_1 = 1        ρ_{t+1} = 1 + ρ_t·∂u_{t+1}/∂u_t        g = mean_t(σ'_t·ρ_t)

    ρ_t = ∂u_t/∂c for a current c at every timestep: how much of it is still in the membrane. A tensor ρ [F] advances
    here; one number for all neurons is `advanced` by the caller.
    """
    spikes_F, slope_F = fired(membrane_F, neuron), neuron.slope(membrane_F)
    at_each = isinstance(rho, Tensor) and rho.ndim > 0
    eligibility_F = slope_F * rho if at_each or state.sensitivities else slope_F.mul_(rho)
    state.eligibility.add_(eligibility_F)
    if isinstance(rho, Tensor) and at_each:
        rho.mul_(survives(membrane_F, spikes_F, slope_F, neuron)).mul_(neuron.decay).add_(1.0)
    if state.sensitivities:
        after = advanced_sensitivities(state.sensitivities, membrane_F, spikes_F, slope_F, neuron)
        for sensitivity_F, after_F in zip(state.sensitivities, after, strict=True):
            sensitivity_F.copy_(after_F)
    reset_(membrane_F, spikes_F, neuron)
    return spikes_F, eligibility_F


def advanced(rho: Tensor | float, neuron: Neuron) -> Tensor | float:
    """ρ for the next timestep, if it is one number for all neurons."""
    return rho if isinstance(rho, Tensor) else 1.0 + neuron.decay * rho


def rate_into(
    current: Reader,
    neuron: Neuron,
    divisor: Tensor | float,
    means_of: Sequence[int],
    spikes: Sequence[Tensor],
    saved: Sequence[Tensor],
) -> Tensor:
    """`rate`, with its sums written into `saved`; returns the counts."""
    counts_F, totals = rate(current, neuron, divisor, means_of, spikes)
    for result_F, total_F in zip(saved, totals, strict=True):
        result_F.copy_(total_F)
    return counts_F


def rate_step(
    current: Reader,
    neuron: Neuron,
    membrane_F: Tensor,
    counts_F: Tensor,
    eligibility_F: Tensor,
    rho: Tensor | float,
    *sensitivities: Tensor,
) -> Tensor:
    """Spikes [F] of one timestep; the state changes in place. ρ is [F], or one number, which stays as it is."""
    charge_(membrane_F, current.at(0), neuron)
    spikes_F, _ = fire_rate(membrane_F, RateState(eligibility_F, sensitivities), rho, neuron)
    counts_F.add_(spikes_F.to(counts_F.dtype))
    return spikes_F.to(current.dtype)


def gradient_through_time(
    current: Reader, neuron: Neuron, grad: Sequence[Tensor], out: Sequence[Tensor]
) -> list[Tensor]:
    """BPTT: write ∂L/∂I_t, T times [F], for ∂L/∂s_t; returns [F] each that sum to ∂L/∂λ and ∂L/∂V_th, if learnt.

        ∂L/∂u_t = ∂L/∂s_t·σ'_t + ∂L/∂v_t·(∂v_t/∂u_t + ∂v_t/∂s_t·σ'_t)        ∂L/∂v_{t−1} = λ·∂L/∂u_t = λ·∂L/∂I_t
        ∂L/∂λ = Σ_t ∂L/∂u_t·(v_{t−1} − v_rest)
        ∂L/∂V_th = −Σ_t (∂L/∂s_t + ∂L/∂v_t·∂v_t/∂s_t)·σ'_t      with the soft reset also  −Σ_t ∂L/∂v_t·s_t

    where the reset's ∂v_t/∂s_t counts only if it is not detached. The membranes are computed again from the currents.
    """
    membrane_F = None
    # The charged membranes are kept in the memory of the gradients, if these have their type.
    charged = out if out[0].dtype == neuron.dtype else [torch.empty_like(x, dtype=neuron.dtype) for x in out]
    for t, charged_t in enumerate(charged):
        membrane_F = charge_(membrane_F, current.at(t), neuron)
        charged_t.copy_(membrane_F)
        reset_(membrane_F, fired(membrane_F, neuron), neuron)
    grad_membrane_F: Tensor | None = None
    learnt = [torch.zeros_like(charged[0]) for learns in neuron.learns if learns]
    for t in reversed(range(len(out))):
        before_t = charged[t - 1] if t > 0 else None
        at_charged_F, learnt_t = gradient_once(grad[t], grad_membrane_F, charged[t], before_t, neuron)
        for total_F, each_F in zip(learnt, learnt_t, strict=True):
            if each_F is not None:
                total_F.add_(each_F)
        out[t].copy_(at_charged_F)
        grad_membrane_F = at_charged_F.mul_(neuron.decay)
    return learnt


def fire_once(
    current: Sequence[Tensor], before: Tensor | None, trace: Tensor | None, neuron: Neuron
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One timestep of the single-step methods: spikes s_t, charged membrane u_t, OTTT's trace a_t = λ·a_{t−1} + s_t.

    The current I_t is the sum of one or two tensors. `before` is u_{t−1}, None at the first timestep; `trace` is
    a_{t−1}, None where there is none. Between timesteps only u_t is kept: the slope of its spikes, its reset and its
    leak are functions of it.
    """
    first, *others = current
    total = first.to(neuron.dtype)
    for other in others:
        total = total + other.to(neuron.dtype)
    membrane = None if before is None else before.clone()
    if membrane is not None:
        reset_(membrane, fired(membrane, neuron), neuron)
    charged = charge_(membrane, total, neuron)
    spikes = fired(charged, neuron)
    if trace is not None:
        trace = (neuron.decay * trace.to(neuron.dtype) + spikes).to(trace.dtype)
    return spikes.to(first.dtype), charged, trace


def gradient_once(
    grad_spikes: Tensor, grad_membrane: Tensor | None, charged: Tensor, before: Tensor | None, neuron: Neuron
) -> tuple[Tensor, list[Tensor | None]]:
    """∂L/∂u_t, which is ∂L/∂I_t, and tensors that sum to the gradients of λ and V_th, if learnt; [F] each.

    They follow from ∂L/∂s_t and ∂L/∂v_t, which is None if no later timestep has a gradient, and may be overwritten.
    They have the type of the membrane.

        ∂L/∂u_t = (∂L/∂s_t + ∂L/∂v_t·∂v_t/∂s_t)·σ'_t + ∂L/∂v_t·∂v_t/∂u_t

    `charged` is u_t. λ's gradient needs `before`, u_{t−1}; it is None at the first timestep, where λ has none.
    """
    learns_decay, learns_threshold = neuron.learns
    grad_spikes = grad_spikes.to(charged.dtype)
    if grad_membrane is not None and not neuron.detach_reset:
        grad_spikes = grad_spikes + grad_membrane * reset_by_spike(charged, neuron)
    at_charged = neuron.slope(charged).mul_(grad_spikes)
    by_threshold = -at_charged if learns_threshold else None
    if grad_membrane is not None:
        if by_threshold is not None and neuron.v_reset is None:
            by_threshold.sub_(grad_membrane * fired(charged, neuron))
        if neuron.v_reset is not None:
            grad_membrane = grad_membrane.mul_(1.0 - fired(charged, neuron))
        at_charged.add_(grad_membrane)
    learnt: list[Tensor | None] = []
    if learns_decay:
        learnt.append(None if before is None else at_charged * from_rest(before, neuron))
    if learns_threshold:
        learnt.append(by_threshold)
    return at_charged, learnt


def gradient_once_later(
    grad_spikes: Tensor,
    grad_later: Tensor | None,
    charged: Tensor,
    before: Tensor | None,
    neuron: Neuron,
    through_time: bool,
) -> tuple[Tensor | None, ...]:
    """The same for the single-step methods, from ∂L/∂u_{t+1}: ∂L/∂v_t = λ·∂L/∂u_{t+1}.

    Returns ∂L/∂I_t in the type of the spikes, ∂L/∂u_t for the timestep before, only with `through_time`, and the
    gradients of what is learnt.
    """
    grad_membrane = None if grad_later is None else grad_later * neuron.decay
    at_charged, learnt = gradient_once(grad_spikes, grad_membrane, charged, before, neuron)
    return at_charged.to(grad_spikes.dtype), at_charged if through_time else None, *learnt
