"""How a carrier looks to a module: torch's functions, operators, and the methods of a tensor."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rbp_engine.spiking.carrier import Carrier, all_carriers
from rbp_engine.spiking.errors import UnsupportedAttribute, UnsupportedOperation
from rbp_engine.spiking.rules import table

# No properties, because a debugger reads those, and would carry out what is deferred.
_TURNED: dict[str, Callable[[Any], Any]] = {
    "T": lambda x: x.permute(*reversed(range(x.ndim))),
    "mT": lambda x: x.transpose(-2, -1),
}
# What a tensor's attributes say about all timesteps alike.
_OF_THE_BATCH = ("is_cpu", "is_meta", "is_mps", "is_nested", "is_quantized", "is_sparse", "is_xpu", "layout")


def _operator(function: Callable[..., Any]) -> Callable[..., Any]:
    """The method for an operator, which is looked up like torch's functions."""
    return lambda *operands: _apply(function, *operands)


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a carrier at the right."""
    return lambda self, other: _apply(function, other, self)


class TensorLike(Carrier):
    """A carrier on which unmodified torch modules work; what each operation does is looked up in the rule table."""

    # NumPy's numbers leave sums and products to the carrier.
    __array_ufunc__ = None

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return _apply(function, *args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(Tensor, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        if name in _TURNED:
            return _TURNED[name](self)
        if name in _OF_THE_BATCH:
            return getattr(self.like, name)
        if not callable(getattr(Tensor, name)):
            raise UnsupportedAttribute(name)
        return lambda *args, **kwargs: _apply(getattr(Tensor, name), self, *args, **kwargs)

    @property
    def device(self) -> torch.device:
        return self.like.device

    @property
    def is_cuda(self) -> bool:
        return self.like.is_cuda

    @property
    def is_nested(self) -> bool:
        """What torch's attention and transformer layers ask for."""
        return False

    def dim(self) -> int:
        return self.ndim

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(_apply(Tensor.unbind, self))

    def __bool__(self) -> bool:
        raise UnsupportedOperation("bool", "its values differ from step to step, and a network must not branch on them")

    def __int__(self) -> int:
        raise UnsupportedOperation("int", "its values differ from step to step")

    def __float__(self) -> float:
        raise UnsupportedOperation("float", "its values differ from step to step")

    __index__ = __int__

    def __contains__(self, value: Any) -> bool:
        raise UnsupportedOperation("in", "its values differ from step to step")

    def __eq__(self, other: object) -> Any:
        return _apply(operator.eq, self, other) if isinstance(other, _COMPARABLE) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return _apply(operator.ne, self, other) if isinstance(other, _COMPARABLE) else NotImplemented

    __hash__ = object.__hash__


for _name in ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
    _function = getattr(operator, f"__{_name}__")
    setattr(TensorLike, f"__{_name}__", _operator(_function))
    setattr(TensorLike, f"__r{_name}__", _reflected(_function))
    setattr(TensorLike, f"__i{_name}__", _operator(getattr(operator, f"__i{_name}__")))
for _name in ("getitem", "setitem", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert"):
    setattr(TensorLike, f"__{_name}__", _operator(getattr(operator, f"__{_name}__")))

_COMPARABLE = (TensorLike, Tensor, int, float)


def _apply(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return table.apply(list(all_carriers([*args, *kwargs.values()])), function, args, kwargs)
