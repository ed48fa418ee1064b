"""Whether the three functions of a neuron of one's own do what the training methods take for granted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rbp_engine.errors import NeuronError
from rbp_engine.spiking.fusion import membrane_dtype

STEPS = 3
# Far beyond any threshold: a neuron that receives it fires, or is silent, at every timestep.
FAR = 1e3
_RECURRENT = (
    "A layer whose neurons reach one another, as by weights that feed spikes back, is recurrent, and is refused: the "
    "gradient of the rate methods is one number for each neuron, which holds where its past is its own. Put weights "
    "into the layers between neurons"
)


class OneTimestep(Protocol):
    """What is checked: an `OwnNeuron`."""

    def at_rest(self, zeros: Tensor) -> Any: ...
    def charge(self, state: Any, current: Tensor) -> Any: ...
    def fire(self, state: Any) -> Tensor: ...
    def timestep(self, state: Any, current: Tensor) -> tuple[Tensor, Tensor, Any]: ...
    @property
    def learnable(self) -> dict[str, nn.Parameter]: ...


def tensors_of(state: Any) -> list[Tensor]:
    """The tensors of a state: itself, or those of a tuple. Raises NeuronError for anything else."""
    found = list(state) if isinstance(state, tuple) else [state]
    if not found or not all(isinstance(tensor, Tensor) for tensor in found):
        raise NeuronError(f"its state is {_kind(state)}; a state is one tensor [B, …], or a NamedTuple of several")
    return found


def map_state(function: Callable[[Tensor], Tensor], state: Any) -> Any:
    """A state of the same kind, with the function of each tensor."""
    found = list(map(function, tensors_of(state)))
    if isinstance(state, Tensor):
        return found[0]
    return type(state)(*found) if hasattr(state, "_fields") else tuple(found)


@torch.no_grad()
def check_timesteps(neuron: OneTimestep, like: Tensor) -> None:
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


def _check_parameters(neuron: OneTimestep, zeros: Tensor) -> None:
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


def _check_types(neuron: OneTimestep, zeros: Tensor, current: Tensor) -> None:
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
        raise NeuronError(f"{what} {_kind(state)}, and at rest its state is {_kind(rest)}: keep to one kind of state")
    for tensor, before in zip(tensors_of(state), tensors_of(rest), strict=True):
        _check_numbers(what, tensor, before)


def _check_numbers(what: str, tensor: Any, expected: Tensor) -> None:
    if not isinstance(tensor, Tensor) or tensor.shape != expected.shape or tensor.dtype != expected.dtype:
        raise NeuronError(
            f"{what} {_kind(tensor)}, expected {_kind(expected)} as the current: one number for each neuron"
        )


def _currents(zeros: Tensor) -> Tensor:
    """Currents [STEPS, 2, …] from -1 to 3, the same in every process and without the global generator."""
    numbers = torch.arange(STEPS * zeros.numel(), device=zeros.device)
    return ((numbers * 7919 % 401) / 100 - 1).to(zeros.dtype).view(STEPS, *zeros.shape)


def _distances(neuron: OneTimestep, zeros: Tensor, currents: Tensor) -> Tensor:
    """What the neurons do [N, 2, …]: their distances at each timestep, and the states in the end."""
    state, found = neuron.at_rest(zeros), []
    for current in currents:
        _, distance, state = neuron.timestep(state, current)
        found.append(distance)
    return torch.stack([*found, *tensors_of(state)])


def _same(one: Tensor, other: Tensor) -> Tensor:
    return (one == other) | (one.isnan() & other.isnan())


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple) else type(value).__name__
