"""Assignment to a part, `x[index] = y` and `x[index] += y`: x with other values there, linear in x and in y."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.errors import UnsupportedOperation


def assign(target: Any, index: Any, value: Any) -> None:
    """The target takes over the new values, as with every operation in place."""
    parts = index if isinstance(index, tuple) else (index,)
    if not isinstance(target, Carrier):
        raise UnsupportedOperation(
            "setitem", "a tensor without time cannot take spikes; put the parts together with torch.cat or torch.stack"
        )
    if any(isinstance(part, Carrier) for part in parts):
        raise UnsupportedOperation("setitem", "the index differs from step to step")
    target.check_checkpointing()
    if isinstance(value, Carrier):
        target.restore_by(value, index)
        value.check_unchanged("setitem")
    target.check_unchanged("setitem")
    places = _places(target, target.all_drawn_once(parts))
    out = type(target).each_step(_with_part(places), (target, *target.all_drawn_once([value])), {})
    target.become(out, "setitem")


def _places(target: Carrier, index: tuple[Any, ...]) -> Tensor:
    """Where the part is in a timestep, as numbers of its entries in the part's shape."""
    return torch.arange(target.shape.numel(), device=target.like.device).reshape(target.shape)[index]


def _with_part(places: Tensor) -> Callable[[Tensor, Any], Tensor]:
    """The function of x and y; it makes a new tensor, as torch.vmap asks."""

    def with_part(x: Tensor, y: Any) -> Tensor:
        y = y.to(x.dtype) if isinstance(y, Tensor) else x.new_full((), y)  # without waiting for a device
        y = y.expand(places.shape)
        return x.flatten().index_copy(0, places.flatten(), y.flatten()).reshape(x.shape)

    return with_part
