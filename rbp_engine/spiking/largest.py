"""Largest and smallest values along a dimension of each sample. Which they are differs from step to step.

As for max pooling, the value is the mean over time of the steps' maxima, and the gradient goes to the largest mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from torch import Tensor

from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.slope_rules import pointwise

Function = Callable[..., Any]
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]

_DIFFER: Final = "the indices of maxima differ from step to step; use their values alone"


class NoIndices:
    """Stands for the indices of maxima, and refuses to be used."""

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def _refuse(self, *args: Any) -> Any:
        raise UnsupportedOperation(self._operation, _DIFFER)

    __getattr__ = __index__ = __getitem__ = __iter__ = _refuse

    @classmethod
    def __torch_function__(cls, function: Function, *args: Any) -> Any:
        raise UnsupportedOperation(function.__name__, _DIFFER)


class Largest(NamedTuple):
    """As torch returns them: `values`, a carrier, and `indices`, which cannot be used."""

    values: Any
    indices: NoIndices


def amax(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """The maxima over one or several dimensions, or the minima."""
    _check_dims(carrier, function.__name__, args[1] if len(args) > 1 else kwargs.get("dim"))
    return type(carrier).max_pool(function, args, kwargs)


def largest(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """`x.max(dim)` and `x.min(dim)`; or the larger of two activations, `x.max(y)`."""
    if len(args) > 1 and isinstance(args[1], (Carrier, Tensor)):
        return pointwise(carrier, function, args, kwargs)
    return _values(carrier, function, args, kwargs, args[1] if len(args) > 1 else kwargs.get("dim"))


def topk(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """The k largest along a dimension."""
    return _values(carrier, function, args, kwargs, args[2] if len(args) > 2 else kwargs.get("dim", -1))


def _values(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords, dim: Any) -> Largest:
    name = function.__name__
    _check_dims(carrier, name, dim)
    values = type(carrier).max_pool(lambda *args, **kwargs: function(*args, **kwargs)[0], args, kwargs)
    return Largest(values, NoIndices(name))


def _check_dims(carrier: Carrier, name: str, dims: Any) -> None:
    dims = (dims,) if isinstance(dims, int) else dims
    if not dims or any(dim % carrier.ndim == 0 for dim in dims):
        raise UnsupportedOperation(name, "name the dimensions, and leave out the batch (0)")
