"""The leaky integrate-and-fire loop over time: once with a graph for BPTT, once in place for the rate methods.

    u_t = λ·v_{t-1} + I_t            charge (with a resting potential: v_reset + λ·(v_{t-1} − v_reset) + I_t)
    s_t = H(u_t − V_th)              fire
    v_t = u_t − V_th·s_t             soft reset
    v_t = (1 − s_t)·u_t + s_t·v_reset    hard reset

The functions take the neuron's settings as flat arguments: `decay` λ, `threshold` V_th, `v_reset` (None for the soft
reset, as in SpikingJelly), `detach_reset` and the surrogate.
"""

from typing import Any

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


def sequence(current: Tensor, **neuron: Any) -> Tensor:
    """Spikes [T, B, …] for input currents [T, B, …], from rest, with a graph through time (BPTT)."""
    membrane = at_rest(current[0], neuron["v_reset"])
    spikes = []
    # unbind, not indexing: the backward of an index fills a whole [T, B, …] with zeros at every step.
    for current_t in current.unbind(0):
        fired, membrane = step(membrane, current_t, **neuron)
        spikes.append(fired)
    return torch.stack(spikes)


@torch.no_grad()
def spikes_only(current: Tensor, *, decay: float, threshold: float, v_reset: float | None) -> Tensor:
    """The same spikes [T, B, …] without a graph and in place, for evaluation."""
    membrane = at_rest(current[0], v_reset)
    spikes = torch.empty(current.shape, dtype=current.dtype, device=current.device)
    for current_t, spikes_t in zip(current, spikes, strict=True):
        _charge(membrane, current_t, decay, v_reset)
        torch.ge(membrane, threshold, out=spikes_t)
        _reset(membrane, spikes_t, threshold, v_reset)
    return spikes


class RateLoop:
    """The loop of the rate methods, in place and without a graph: spikes, and the means that the rate pass needs.

    The eligibility g = mean_t(σ'_t·ρ_t) is what the rate's gradient is multiplied with on its way to the mean input;
    ρ_{t+1} = 1 + ρ_t·∂u_{t+1}/∂u_t says how much of the input so far is still in the membrane (paper, section 4).
    """

    def __init__(
        self,
        current: Tensor,
        *,
        decay: float,
        threshold: float,
        v_reset: float | None,
        detach_reset: bool,
        surrogate: Surrogate,
    ) -> None:
        """`current` [B, …] gives shape, type and device; the loop begins at rest."""
        self.decay = decay
        self.threshold = threshold
        self.v_reset = v_reset
        self.detach_reset = detach_reset
        self.surrogate = surrogate
        self._count = 0
        self._membrane = at_rest(current, v_reset)
        self._spikes = torch.zeros_like(self._membrane)
        self._eligibility = torch.zeros_like(self._membrane)
        # ρ is the same number for every neuron under the soft, detached reset: ∂u_{t+1}/∂u_t = λ.
        uniform = v_reset is None and detach_reset
        self._reach: Tensor | float = 1.0 if uniform else torch.ones_like(self._membrane)

    @torch.no_grad()
    def step(self, current: Tensor, out: Tensor | None = None) -> Tensor:
        """Spikes [B, …] of the next timestep, written into `out` if given."""
        membrane, threshold = self._membrane, self.threshold
        spikes = torch.empty_like(membrane) if out is None else out
        _charge(membrane, current, self.decay, self.v_reset)
        torch.ge(membrane, threshold, out=spikes)
        slope_t = slope(self.surrogate, membrane - threshold)
        if isinstance(self._reach, float):
            self._eligibility.add_(slope_t, alpha=self._reach)
            self._reach = 1.0 + self.decay * self._reach
        else:
            self._eligibility.addcmul_(slope_t, self._reach)
            carried = _carried_over(membrane, spikes, slope_t, threshold, self.v_reset, self.detach_reset)
            self._reach.mul_(carried).mul_(self.decay).add_(1.0)
        self._spikes.add_(spikes)
        self._count += 1
        _reset(membrane, spikes, threshold, self.v_reset)
        return spikes

    def finish(self) -> tuple[Tensor, Tensor]:
        """Firing rate and eligibility, both [B, …]; the loop is over, and its membrane is given back."""
        rate, eligibility = self._spikes.div_(self._count), self._eligibility.div_(self._count)
        del self._membrane, self._spikes, self._eligibility, self._reach
        return rate, eligibility


@torch.no_grad()
def rate(current: Tensor, **neuron: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes [T, B, …], firing rate [B, …] and eligibility [B, …] of a whole sequence of input currents [T, B, …]."""
    loop = RateLoop(current[0], **neuron)
    spikes = torch.empty(current.shape, dtype=current.dtype, device=current.device)
    for current_t, spikes_t in zip(current, spikes, strict=True):
        loop.step(current_t, out=spikes_t)
    return spikes, *loop.finish()


def at_rest(current: Tensor, v_reset: float | None) -> Tensor:
    """A membrane of one timestep's shape at its resting potential."""
    return torch.full_like(current.detach(), v_reset or 0.0)


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
