"""A layer of neurons as carriers see it: what it learns, and its loops over time.

`spiking/layers/lif.py` has those of LIF, `spiking/layers/own_loop.py` those of a neuron of one's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from rbp_engine.spiking.fusion import Current


class RatePass(NamedTuple):
    """What the rate methods keep of the loop over a layer."""

    spikes: Tensor
    """Bytes [T, B, …]."""
    counts: Tensor
    """The number of spikes, [B, …]."""
    derivatives: Sequence[Tensor]
    """Of the rate r, [B, …] each: by a current at every timestep, the eligibility g; then by what is learnt."""
    means: Sequence[Tensor]
    """The time means [B, …] of the terms that a batch norm is applied to, before it: its backward needs them."""

    @property
    def eligibility(self) -> Tensor:
        """g = ∂r/∂c [B, …]."""
        return self.derivatives[0]


class RateLoop(Protocol):
    """The loop of the rate methods, step by step from rest."""

    def step(self, current: Current) -> Tensor:
        """Spikes [B, …] of the next timestep, for a `Current` of one timestep."""
        ...

    def charge(self, current: Tensor) -> Tensor:
        """Charge the neurons with a current [B, …]: their distance from the threshold, [B, …]."""
        ...

    def fire_into(self, spikes: Tensor) -> Tensor:
        """Complete the timestep: write the spikes of the charged neurons into `spikes` [B, …], and reset them."""
        ...

    def finish(self) -> tuple[Tensor, Sequence[Tensor]]:
        """`counts` and `derivatives` of a `RatePass`; it overwrites the sums, so it is called once, at the end."""
        ...


class Neurons(Protocol):
    """A layer of neurons. Currents are [T, B, …], float32 at least inside; every loop begins at rest."""

    @property
    def learnt(self) -> Sequence[Tensor]:
        """What is trained, with its graph: λ and V_th of LIF, the parameters of a neuron of one's own."""
        ...

    def spikes_only(self, current: Current) -> Tensor:
        """Spikes [T, B, …], without a graph."""
        ...

    def rate(self, current: Current) -> RatePass:
        """What the rate methods need, in one loop."""
        ...

    def rate_loop(self, like: Tensor, timesteps: int) -> RateLoop:
        """The same step by step; `like` [B, …] gives shape, type and device."""
        ...

    def eligibility_terms(self, current: Current) -> Iterator[Tensor]:
        """The terms σ'_t·ρ_t [B, …] whose mean is the eligibility; of BPTT Σ_t ∂L/∂I_t = Σ_t ∂L/∂s_t ⊙ these."""
        ...

    def gradient_through_time(self, current: Current, grad: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """BPTT's ∂L/∂I [T, B, …] and the gradients of what is learnt, for ∂L/∂s [T, B, …]."""
        ...

    def once(
        self, current: Sequence[Tensor], before: Any, *, through_time: bool, traced: bool
    ) -> tuple[Tensor, Any, Tensor | None]:
        """Spikes [B, …] of one timestep with their graph, the state for the next, and OTTT's trace if `traced`.

        The current is the sum of one or two; `before` is the state that the timestep before gave, None at the first.
        Without `through_time` no gradient goes there.
        """
        ...
