"""Operations that are linear in their carriers, and how any operation is computed at all timesteps at once.

A linear operation commutes with the time mean: mean_t f(x_t) = f(mean_t x_t). Convolutions, sums, means, moves and
products with weights are such.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from rbp_engine.spiking.kernels.steps import Steps, TimeConstant

# How T timesteps are computed at once:
#   batch    T is folded into the batch, [T·B, …], which the function must keep first
#   step     the function sees one timestep [B, …], and may do with the batch dimension what it likes
#   numbers  the function broadcasts, so that [T, B, …] and [B, …] go together as they stand
Over = Literal["batch", "step", "numbers"]
Weights = Literal["none", "layer", "product"]


@dataclass(frozen=True)
class OpenCall:
    """A function of [B, …] values, at some `places` of its positional arguments; these have None there.

    The graph may keep it, and no carrier with it.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    places: tuple[int, ...]

    @staticmethod
    def of(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], *kinds: type) -> OpenCall:
        """With places for the arguments of these types, those of the first type first."""
        places = tuple(place for kind in kinds for place, arg in enumerate(args) if isinstance(arg, kind))
        left_open = tuple(None if place in places else arg for place, arg in enumerate(args))
        return OpenCall(function, left_open, kwargs, places)

    @property
    def name(self) -> str:
        return str(self.function.__name__)

    def filled(self, *values: Any) -> list[Any]:
        """The arguments with these values in their places."""
        args = list(self.args)
        for place, value in zip(self.places, values, strict=True):
            args[place] = value
        return args

    def __call__(self, *values: Any) -> Any:
        return self.function(*self.filled(*values), **self.kwargs)


@dataclass(frozen=True)
class Linear:
    """A rule's operation that is linear in its carriers together.

    `over` says how all timesteps are computed at once. What `moves` entries does not calculate with them: spikes stay
    bytes. Its `weights` are those of torch's convolution or linear "layer", after the one carrier, or the tensors in a
    "product" with one carrier.
    """

    call: OpenCall
    over: Over = "step"
    moves: bool = False
    weights: Weights = "none"

    def __call__(self, *values: Tensor) -> Tensor:
        out: Tensor = self.call(*values)
        return out

    def is_plain_sum(self, inputs: Sequence[Any]) -> bool:
        """Whether it adds two carriers of one shape and type."""
        if self.call.name != "add" or self.call.kwargs or len(inputs) != 2:
            return False
        left, right = inputs
        return bool(left.shape == right.shape and left.dtype == right.dtype)

    @property
    def trains_weights(self) -> bool:
        """Whether a tensor beside the carriers is trained."""
        return any(isinstance(arg, Tensor) and arg.requires_grad for arg in self.call.args)

    def with_fixed_weights(self) -> Linear:
        """The same, without a gradient to the weights."""
        args = tuple(arg.detach() if isinstance(arg, Tensor) else arg for arg in self.call.args)
        return replace(self, call=replace(self.call, args=args))


def at_all_steps(function: Callable[..., Tensor], over: Over, inputs: Sequence[Steps], timesteps: int) -> Tensor:
    """A function of inputs of which some change in time, at each timestep: [T, B, …]."""
    values, static = [x.values() for x in inputs], [isinstance(x, TimeConstant) for x in inputs]
    if over == "numbers":
        return function(*values)
    if over == "step":
        out: Tensor = torch.vmap(function, tuple(None if is_static else 0 for is_static in static))(*values)
        return out
    return unfolded(function(*folded(inputs, timesteps)), timesteps)


def folded(inputs: Sequence[Steps], timesteps: int) -> list[Tensor]:
    """Their values as batches [T·B, …]."""
    both = ((x.values(), isinstance(x, TimeConstant)) for x in inputs)
    steps = (values.expand(timesteps, *values.shape) if is_static else values for values, is_static in both)
    return [values.flatten(0, 1) for values in steps]


def unfolded(batch: Tensor, timesteps: int) -> Tensor:
    """[T·B, …] as [T, B, …]."""
    steps: Tensor = batch.unflatten(0, (timesteps, -1))
    return steps
