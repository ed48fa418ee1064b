"""What a carrier needs of a layer of neurons: what it learns, and its loops over time.

`spiking/neuron.py` has those of LIF, `spiking/own_neuron.py` those of user-defined neurons.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from rbp_engine.spiking.current import Current


class RatePass(NamedTuple):
    """What the rate methods keep from the loop of a layer."""

    spikes: Tensor
    """Bytes [T, B, …]."""
    counts: Tensor
    """The number of spikes, [B, …]."""
    derivatives: Sequence[Tensor]
    """Of the rate r, [B, …] each: ∂r/∂c = g, the eligibility, then ∂r/∂θ of each θ that is learnt."""
    means: Sequence[Tensor]
    """The time means [B, …] of the terms that have a batch norm, before it: its backward needs them."""


class ObservedStep(NamedTuple):
    """A timestep of the loop of the rate methods, [B, …] each."""

    spikes: Tensor
    distance: Tensor
    """u_t − V_th, or what a user-defined neuron returns for it."""
    eligibility: Tensor
    """σ'_t·ρ_t, whose mean over time is g. For ∂L/∂s_t of BPTT, Σ_t ∂L/∂I_t = Σ_t ∂L/∂s_t ⊙ these."""


class RateLoop(Protocol):
    """The loop of the rate methods, step by step from rest."""

    def step(self, current: Current) -> Tensor:
        """Spikes [B, …] of the next timestep, for a `Current` of one timestep."""

    def observed(self, current: Tensor) -> ObservedStep:
        """The same for a current [B, …], uncompiled, with what probes measure."""

    def finish(self) -> tuple[Tensor, Sequence[Tensor]]:
        """`counts` and `derivatives` of a `RatePass`; it overwrites the sums, so it is called once, at the end."""


class Membrane(NamedTuple):
    """What a layer carries to the next timestep: its state, which only its neurons read, and OTTT's trace a_t."""

    state: Any
    trace: Tensor | None


class Neurons(Protocol):
    """A layer of neurons. Currents are [T, B, …] and computed in float32 at least. Every loop starts at rest."""

    @property
    def learnt(self) -> Sequence[Tensor]:
        """The trained parameters with their graph: λ and V_th of LIF, or the parameters of a user-defined neuron."""

    def at_rest(self, current: Tensor) -> Any:
        """The state before the first timestep, for currents like this one [B, …]."""

    def timestep(self, state: Any, current: Tensor) -> tuple[Tensor, Any]:
        """Spikes [B, …] of one timestep and the state for the next, with their graph."""

    def spikes_only(self, current: Current) -> Tensor:
        """Spikes [T, B, …], without a graph."""

    def rate(self, current: Current) -> RatePass:
        """What the rate methods need, in one loop."""

    def rate_loop(self, like: Current, timesteps: int) -> RateLoop:
        """The same step by step, for currents of the shape, type and device of `like`."""

    def gradient_through_time(self, current: Current, grad: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """BPTT's ∂L/∂I [T, B, …] and the gradients of what is learnt, for ∂L/∂s [T, B, …]."""

    def once(
        self, current: Sequence[Tensor], before: Membrane | None, *, through_time: bool, traced: bool
    ) -> tuple[Tensor, Membrane]:
        """Spikes [B, …] of one timestep with their graph, and what the next one needs, with a trace if `traced`.

        The current is the sum of one or two tensors. `before` is what the previous timestep returned, None at the
        first. Without `through_time` no gradient flows back to it.
        """
