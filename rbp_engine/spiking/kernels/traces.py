"""Where λ or V_th is learnt: how far it has moved the membrane so far, and the firing rate. For the rate methods.

    e_1 = 0,  e_{t+1} = ∂u_{t+1}/∂λ = (v_t − v_rest) + λ·∂v_t/∂u_t·e_t           ∂r/∂λ = mean_t σ'_t·e_t
    f_1 = 0,  f_{t+1} = ∂u_{t+1}/∂V_th = λ·(∂v_t/∂u_t·f_t + ∂v_t/∂V_th)          ∂r/∂V_th = mean_t σ'_t·(f_t − 1)

Like ρ they go forward in time, so their memory does not grow with T. v_rest is the v_reset of the hard reset, 0 for
the soft one. At the charged membrane u_t,

    ∂v_t/∂V_th =  −s_t                        soft reset, detached
                  −s_t + V_th·σ'_t            soft reset, not detached
                  0                           hard reset, detached
                  (u_t − v_reset)·σ'_t        hard reset, not detached

The functions work in place on nothing, so that eager and compiled loops share them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor


class Fired(NamedTuple):
    """What a timestep leaves: membrane u_t before and v_t after the reset, spikes, slope σ'_t, and ∂v_t/∂u_t."""

    charged: Tensor
    spikes: Tensor
    slope: Tensor
    membrane: Tensor
    reset_jacobian: Any


def advanced(traces: Sequence[Any], fired: Fired, neuron: Any) -> list[Any]:
    """The traces after a timestep: [e, Σ_t σ'_t·e_t] if λ is learnt, then [f, Σ_t σ'_t·(f_t − 1)] if V_th is.

    All have the shape of the membrane; those before the first timestep may be 0.0. `neuron` has the fields of
    `LIFParameters`.
    """
    after: list[Any] = []
    learns_decay, learns_threshold = neuron.learns
    if learns_decay:
        moved, total = traces[:2]
        from_rest = fired.membrane - neuron.v_reset if neuron.v_reset else fired.membrane
        after += [moved * fired.reset_jacobian * neuron.decay + from_rest, total + fired.slope * moved]
    if learns_threshold:
        moved, total = traces[-2:]
        later = (moved * fired.reset_jacobian + _reset_by_threshold(fired, neuron)) * neuron.decay
        after += [later, total + fired.slope * (moved - 1.0)]
    return after


def _reset_by_threshold(fired: Fired, neuron: Any) -> Any:
    """∂v_t/∂V_th at the charged membrane."""
    if neuron.v_reset is None:
        return -fired.spikes if neuron.detach_reset else neuron.threshold * fired.slope - fired.spikes
    return 0.0 if neuron.detach_reset else (fired.charged - neuron.v_reset) * fired.slope
