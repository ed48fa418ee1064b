"""A user-defined neuron, given as what happens in one timestep: charge, fire, reset. The rest follows from these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from rbp_engine.errors import NeuronError
from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.fusion import membrane_dtype
from rbp_engine.spiking.layers.own_loop import OwnNeurons, Timestep, kind_of, tensors_of
from rbp_engine.spiking.neuron import NeuronModule
from rbp_engine.spiking.surrogate import Surrogate, create_surrogate

State = TypeVar("State")
Spiking = Callable[[Tensor], Tensor]

STEPS = 3
# Far beyond any threshold: a neuron that receives it fires, or is silent, at every timestep.
FAR = 1e3
_RECURRENT = (
    "A layer whose neurons reach one another, as by weights that feed spikes back, is recurrent, and is refused: the "
    "gradient of the rate methods is one number for each neuron, which holds where its past is its own. Put weights "
    "into the layers between neurons"
)


class OwnNeuron(NeuronModule, Generic[State]):
    """The base class of user-defined neurons. A subclass writes three functions of one timestep, and `at_rest` unless
    its state is one tensor that begins as 0:

        charge(state, current)   the state after the input current, before it fires
        fire(state)              how far each neuron is above its threshold; it fires where that is 0 or more
        reset_by(state, spikes)  the state for the next timestep

    A state is one tensor [B, …], or a NamedTuple of several. Entries at the same place belong to one neuron: no
    function may look at another neuron or sample, draw random numbers, or change a tensor in place. `spikes.detach()`
    in `reset_by` keeps the reset out of the gradient. An `nn.Parameter` is trained; it is one number for the layer, or
    has a shape that broadcasts, as [C, 1, 1] for one a channel.

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

    def prepare(self, current: Carrier) -> None:
        """The functions of the neuron are checked once."""
        if not self._checked and not current.like.is_meta:
            check_timesteps(self, current.like)
            self._checked = True

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


@torch.no_grad()
def check_timesteps(neuron: OwnNeuron[Any], like: Tensor) -> None:
    """Run some timesteps for two samples of the shape of `like` [B, …].

    Raises NeuronError if shapes or types are wrong, if a tensor is changed in place, if distances are NaN, if random
    numbers are drawn, or if a neuron's current changes another neuron.
    """
    try:
        zeros = torch.zeros((2, *like.shape[1:]), dtype=membrane_dtype(like.dtype), device=like.device)
        _check_parameters(neuron, zeros)
        currents = _currents(zeros)
        _check_types(neuron, zeros, currents[0])
        once = _distances(neuron, zeros, currents)
        if once[:STEPS].isnan().any():
            raise NeuronError(
                "its distances are NaN for currents from -1 to 3: look for what divides by 0, or for a log"
            )
        if not _same(once, _distances(neuron, zeros, currents)).all():
            raise NeuronError("the same currents give other values a second time: it must not draw random numbers")
        for far in (FAR, -FAR):
            changed = currents.clone()
            changed.view(STEPS, -1)[:, 0] = far
            other = ~_same(once, _distances(neuron, zeros, changed)).flatten(1)
            if other[:, 1:].any():
                raise NeuronError(f"the current of one neuron changes another neuron. {_RECURRENT}")
    except NeuronError as error:
        raise NeuronError(f"{type(neuron).__name__}: {error}") from None


def _check_parameters(neuron: OwnNeuron[Any], zeros: Tensor) -> None:
    for name, parameter in neuron.learnable.items():
        expected = (1,) * (zeros.ndim - parameter.ndim) + tuple(parameter.shape)
        fits = parameter.ndim < zeros.ndim and all(
            size in (1, there) for size, there in zip(expected, zeros.shape, strict=True)
        )
        if not fits:
            layer = ", ".join(map(str, zeros.shape[1:]))
            channel = [zeros.shape[1], *[1] * (zeros.ndim - 2)]
            raise NeuronError(
                f"the parameter {name} has the shape {list(parameter.shape)}, and a neuron layer of [B, {layer}] can "
                f"have one number ([]), or one a channel ({channel}). {_RECURRENT}"
            )


def _check_types(neuron: OwnNeuron[Any], zeros: Tensor, current: Tensor) -> None:
    """Raise NeuronError unless the state keeps its shape and everything is left as it was."""
    rest = neuron.at_rest(zeros)
    for tensor in tensors_of(rest):
        _check_numbers("at_rest gives", tensor, zeros)
    known = [*tensors_of(rest), current]
    before = [tensor._version for tensor in known]
    charged = neuron.charge(rest, current)
    _check_kind("charge gives", charged, rest)
    _check_numbers("fire gives", neuron.fire(charged), current)
    spikes, _, state = neuron.timestep(rest, current)
    if [tensor._version for tensor in known] != before:
        raise NeuronError("it changes its state or its current in place; return a new tensor: v + I, not v.add_(I)")
    _check_kind("reset_by gives", state, rest)
    if not ((spikes == 0) | (spikes == 1)).all():
        raise NeuronError("its spikes are not 0 and 1: leave them to the surrogate, and give the distance in fire")


def _check_kind(what: str, state: Any, rest: Any) -> None:
    if type(state) is not type(rest) or len(tensors_of(state)) != len(tensors_of(rest)):
        raise NeuronError(
            f"{what} {kind_of(state)}, and at rest its state is {kind_of(rest)}: keep to one kind of state"
        )
    for tensor, before in zip(tensors_of(state), tensors_of(rest), strict=True):
        _check_numbers(what, tensor, before)


def _check_numbers(what: str, tensor: Any, expected: Tensor) -> None:
    if not isinstance(tensor, Tensor) or tensor.shape != expected.shape or tensor.dtype != expected.dtype:
        raise NeuronError(
            f"{what} {kind_of(tensor)}, expected {kind_of(expected)} as the current: one number for each neuron"
        )


def _currents(zeros: Tensor) -> Tensor:
    """Currents [STEPS, 2, …] from -1 to 3, the same in every process and without the global generator."""
    numbers = torch.arange(STEPS * zeros.numel(), device=zeros.device)
    return ((numbers * 7919 % 401) / 100 - 1).to(zeros.dtype).view(STEPS, *zeros.shape)


def _distances(neuron: OwnNeuron[Any], zeros: Tensor, currents: Tensor) -> Tensor:
    """What the neurons do [N, 2, …]: their distances at each timestep, and the states in the end."""
    state, found = neuron.at_rest(zeros), []
    for current in currents:
        _, distance, state = neuron.timestep(state, current)
        found.append(distance)
    return torch.stack([*found, *tensors_of(state)])


def _same(one: Tensor, other: Tensor) -> Tensor:
    return (one == other) | (one.isnan() & other.isnan())
