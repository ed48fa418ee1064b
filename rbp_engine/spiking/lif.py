"""The leaky integrate-and-fire loop over time: once with a graph for BPTT, once in place for the rate methods.

    u_t = λ·v_{t-1} + I_t            charge (with a resting potential: v_reset + λ·(v_{t-1} − v_reset) + I_t)
    s_t = H(u_t − V_th)              fire
    v_t = u_t − V_th·s_t             soft reset
    v_t = (1 − s_t)·u_t + s_t·v_reset    hard reset

The functions take the neuron's settings as flat arguments: `decay` λ, `threshold` V_th, `v_reset` (None for the soft
reset, as in SpikingJelly), `detach_reset` and the surrogate.
"""

import torch
from torch import Tensor

from rbp_engine.spiking.surrogate import Surrogate, slope


def step(
    membrane: Tensor,
    current: Tensor,
    *,
    decay: float,
    threshold: float,
    v_reset: float | None,
    detach_reset: bool,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor]:
    """One timestep with a graph: spikes s_t and the membrane v_t after the reset, both shaped like `current`."""
    charged = decay * membrane + current if not v_reset else v_reset + decay * (membrane - v_reset) + current
    spikes = surrogate(charged - threshold)
    reset_by = spikes.detach() if detach_reset else spikes
    if v_reset is None:
        return spikes, charged - threshold * reset_by
    return spikes, (1.0 - reset_by) * charged + reset_by * v_reset


def sequence(current: Tensor, **neuron: object) -> Tensor:
    """Spikes [T, B, …] for input currents [T, B, …], from rest, with a graph through time (BPTT)."""
    membrane = _at_rest(current, neuron["v_reset"])
    spikes = []
    # unbind, not indexing: the backward of an index fills a whole [T, B, …] with zeros at every step.
    for current_t in current.unbind(0):
        fired, membrane = step(membrane, current_t, **neuron)  # type: ignore[arg-type]
        spikes.append(fired)
    return torch.stack(spikes)


@torch.no_grad()
def spikes_only(current: Tensor, *, decay: float, threshold: float, v_reset: float | None) -> Tensor:
    """The same spikes [T, B, …] without a graph and in place, for evaluation."""
    membrane = _at_rest(current, v_reset)
    spikes = torch.empty(current.shape, dtype=current.dtype, device=current.device)
    for current_t, spikes_t in zip(current, spikes, strict=True):
        _charge(membrane, current_t, decay, v_reset)
        torch.ge(membrane, threshold, out=spikes_t)
        _reset(membrane, spikes_t, threshold, v_reset)
    return spikes


@torch.no_grad()
def rate(
    current: Tensor,
    *,
    decay: float,
    threshold: float,
    v_reset: float | None,
    detach_reset: bool,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes [T, B, …], firing rate [B, …] and eligibility [B, …] of one neuron layer (paper, section 4; no graph).

    The eligibility g = mean_t(σ'_t·ρ_t) is what the rate's gradient is multiplied with on its way to the mean input;
    ρ_{t+1} = 1 + ρ_t·∂u_{t+1}/∂u_t says how much of the input so far is still in the membrane.
    """
    membrane = _at_rest(current, v_reset)
    spikes = torch.empty(current.shape, dtype=current.dtype, device=current.device)
    eligibility = torch.zeros_like(membrane)
    # ρ is the same number for every neuron under the soft, detached reset: ∂u_{t+1}/∂u_t = λ.
    uniform = v_reset is None and detach_reset
    reach: Tensor | float = 1.0 if uniform else torch.ones_like(membrane)
    for current_t, spikes_t in zip(current, spikes, strict=True):
        _charge(membrane, current_t, decay, v_reset)
        torch.ge(membrane, threshold, out=spikes_t)
        slope_t = slope(surrogate, membrane - threshold)
        if isinstance(reach, float):
            eligibility.add_(slope_t, alpha=reach)
            reach = 1.0 + decay * reach
        else:
            eligibility.addcmul_(slope_t, reach)
            carried = _carried_over(membrane, spikes_t, slope_t, threshold, v_reset, detach_reset)
            reach.mul_(carried).mul_(decay).add_(1.0)
        _reset(membrane, spikes_t, threshold, v_reset)
    return spikes, spikes.mean(0), eligibility.div_(len(current))


def _at_rest(current: Tensor, v_reset: object) -> Tensor:
    rest = v_reset if isinstance(v_reset, float) else 0.0
    return torch.full_like(current[0], rest, memory_format=torch.preserve_format)


def _charge(membrane: Tensor, current: Tensor, decay: float, v_reset: float | None) -> None:
    if v_reset:
        membrane.sub_(v_reset).mul_(decay).add_(v_reset).add_(current)
    else:
        membrane.mul_(decay).add_(current)


def _reset(membrane: Tensor, spikes: Tensor, threshold: float, v_reset: float | None) -> None:
    if v_reset is None:
        membrane.sub_(spikes, alpha=threshold)
    else:
        membrane.masked_fill_(spikes.bool(), v_reset)


def _carried_over(
    charged: Tensor, spikes: Tensor, slope_t: Tensor, threshold: float, v_reset: float | None, detach_reset: bool
) -> Tensor:
    """∂v_t/∂u_t, how much of the charged membrane survives the reset (∂u_{t+1}/∂u_t is λ times this)."""
    if v_reset is None:
        return 1.0 - threshold * slope_t
    if detach_reset:
        return 1.0 - spikes
    return 1.0 - spikes - (charged - v_reset) * slope_t
