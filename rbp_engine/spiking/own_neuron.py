"""A neuron of one's own, given as what happens in one timestep: charge, fire, reset. The rest follows from these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import torch
from spikingjelly.activation_based import base
from torch import Tensor, nn

from rbp_engine.spiking.carrier import refuse_checkpointing
from rbp_engine.spiking.fusion import membrane_dtype
from rbp_engine.spiking.layers.own_loop import OwnNeurons, Timestep
from rbp_engine.spiking.own_neuron_check import check_timesteps, tensors_of
from rbp_engine.spiking.surrogate import Surrogate, create_surrogate

State = TypeVar("State")
Spiking = Callable[[Tensor], Tensor]


class OwnNeuron(base.MemoryModule, Generic[State]):  # type: ignore[misc]  # SpikingJelly ships no types
    """The base class of neurons of one's own. A subclass writes three functions of one timestep:

        charge(state, current)   the state after the input current, before it fires
        fire(state)              how far each neuron is above its threshold; it fires where that is 0 or more
        reset_by(state, spikes)  the state for the next timestep

    A state is one tensor [B, …], or a NamedTuple of several. Every entry belongs to one neuron: no function may look at
    another neuron or sample, draw random numbers, or change a tensor in place. `spikes.detach()` in `reset_by` keeps
    the reset out of the gradient. An `nn.Parameter` is trained; it is one number for the layer, or has a shape that
    broadcasts, as [C, 1, 1] for one a channel.

    The gradient of the rate methods is the derivative of r = mean_t s_t, taken forward in time with the loop: g by a
    current that is added at every timestep (paper, equation 10), and ∂r/∂θ by each parameter θ.

    Attributes:
        surrogate: the slope of the spike; a preset's `neuron.surrogate` replaces it.
        trace_decay: λ of the trace a_t = λ·a_{t−1} + s_t that the weights behind the neuron see in OTTT; None where
            the neuron has no such λ, and OTTT refuses it.
    """

    surrogate: Surrogate
    trace_decay: float | None = None

    def __init__(self) -> None:
        super().__init__()
        self.surrogate = create_surrogate("sigmoid")
        self.state: Any
        self.register_memory("state", None)
        self._checked = False

    def start(self, current: Tensor) -> State:
        """The state before the first timestep, for currents like this one [B, …]."""
        return self.at_rest(torch.zeros_like(current.detach(), dtype=membrane_dtype(current.dtype)))

    def at_rest(self, zeros: Tensor) -> State:
        """The state before the first timestep; `zeros` [B, …] has the shape and type of each of its tensors."""
        return cast(State, zeros)

    def charge(self, state: State, current: Tensor) -> State:
        """The state after the input current [B, …], float32 at least."""
        raise NotImplementedError(f"{type(self).__name__} has no charge(state, current)")

    def fire(self, state: State) -> Tensor:
        """The distance [B, …] from the threshold, u_t − V_th for LIF: a spike where it is 0 or more."""
        raise NotImplementedError(f"{type(self).__name__} has no fire(state)")

    def reset_by(self, state: State, spikes: Tensor) -> State:
        """The state for the next timestep, after the spikes [B, …] of 0 and 1."""
        raise NotImplementedError(f"{type(self).__name__} has no reset_by(state, spikes)")

    def timestep(self, state: State, current: Tensor, spike: Spiking | None = None) -> Timestep:
        """One timestep; `spike` is H with the surrogate's slope, by default as the surrogate itself computes it."""
        charged = self.charge(state, current)
        distance = self.fire(charged)
        spikes = (spike or self.surrogate)(distance)
        return Timestep(spikes, distance, self.reset_by(charged, spikes))

    @property
    def learnable(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def forward(self, current: Any) -> Any:
        """Spikes for input currents: a carrier for a carrier of the same kind, a tensor for a tensor, as of LIF."""
        if isinstance(current, Tensor):
            return super().forward(current)
        refuse_checkpointing()
        current.check_unchanged(type(self).__name__)
        if not self._checked and not current.like.is_meta:
            check_timesteps(self, current.like)
            self._checked = True
        return current.fire(self.neurons_for(current))

    def neurons_for(self, current: Any) -> OwnNeurons:
        """The layer as carriers fire it, as of LIF."""
        return OwnNeurons(self)

    def single_step_forward(self, current: Tensor) -> Tensor:
        """Spikes [B, …] of one timestep; `state` is kept for the next.

        Raises ValueError if the input's shape is not that of the state which the previous input left.
        """
        before = self.start(current) if self.state is None else self.state
        kept = tensors_of(before)[0].shape
        if kept != current.shape:
            raise ValueError(
                f"the state has the shape {list(kept)} of the input before, this one {list(current.shape)}: before "
                "another batch call rbp_engine.methods.reset_state(model); step and predict of a method do so"
            )
        spikes, _, self.state = self.timestep(before, current.to(membrane_dtype(current.dtype)))
        return spikes.to(current.dtype)

    def multi_step_forward(self, currents: Tensor) -> Tensor:
        """Spikes [T, B, …] of T timesteps, starting from the state that is kept."""
        return torch.stack([self.single_step_forward(current) for current in currents.unbind(0)])
