"""How a carrier looks to a module: torch's functions, operators, and the methods of a tensor."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rbp_engine.spiking import rules
from rbp_engine.spiking.carrier import Carrier, all_carriers


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
        if name.startswith("__") or not callable(getattr(Tensor, name, None)):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return lambda *args, **kwargs: _apply(getattr(Tensor, name), self, *args, **kwargs)

    @property
    def device(self) -> torch.device:
        return self.batch.device

    @property
    def is_cuda(self) -> bool:
        return self.batch.is_cuda

    def dim(self) -> int:
        return self.batch.ndim

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def __len__(self) -> int:
        return self.shape[0]

    __getitem__ = _operator(operator.getitem)
    __iter__ = _operator(iter)
    __add__ = _operator(operator.add)
    __radd__ = _reflected(operator.add)
    __sub__ = _operator(operator.sub)
    __rsub__ = _reflected(operator.sub)
    __mul__ = _operator(operator.mul)
    __rmul__ = _reflected(operator.mul)
    __truediv__ = _operator(operator.truediv)
    __neg__ = _operator(operator.neg)


def _apply(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return rules.apply(list(all_carriers([*args, *kwargs.values()])), function, args, kwargs)
