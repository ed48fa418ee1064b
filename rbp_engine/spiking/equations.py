"""One LIF neuron at one timestep: charge, fire, reset, and the slopes of each. Every loop over time is made of these.

    u_t = v_rest + λ·(v_{t−1} − v_rest) + I_t       charge
    s_t = H(u_t − V_th)                             fire
    v_t = u_t − V_th·s_t                            soft reset, v_rest = 0
    v_t = (1 − s_t)·u_t + s_t·v_reset               hard reset, v_rest = v_reset

`timestep` is all of it with autograd's graph. The loops have their backward passes written out, and are made of the
functions below it, which build no graph; those that end in `_` change the membrane [B, …] in place.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class Parameters(Protocol):
    """The parameters of a layer, with the graph of what is learnt (`spiking/layers/lif.py`: `LIFNeurons`)."""

    @property
    def decay(self) -> float | Tensor: ...
    @property
    def threshold(self) -> float | Tensor: ...
    @property
    def v_reset(self) -> float | None: ...
    @property
    def detach_reset(self) -> bool: ...
    @property
    def surrogate(self) -> Callable[[Tensor], Tensor]: ...


def timestep(membrane: Tensor, current: Tensor, neurons: Parameters) -> tuple[Tensor, Tensor]:
    """Spikes s_t and the membrane v_t after the reset, from v_{t−1} and I_t, [B, …] each, with their graph."""
    rest, threshold = neurons.v_reset or 0.0, neurons.threshold
    charged = rest + neurons.decay * (membrane - rest) + current if rest else neurons.decay * membrane + current
    spikes = neurons.surrogate(charged - threshold)
    by = spikes.detach() if neurons.detach_reset else spikes
    if neurons.v_reset is None:
        return spikes, charged - threshold * by
    return spikes, (1.0 - by) * charged + by * neurons.v_reset


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
    """How far λ and V_th, where they are learnt, have moved the membrane so far, and the firing rate; after timestep t.

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
