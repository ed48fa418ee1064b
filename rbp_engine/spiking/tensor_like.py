"""How a carrier looks to a module: torch's functions, operators, and the methods of a tensor."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rbp_engine.spiking import rules
from rbp_engine.spiking.carrier import Carrier, all_carriers


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

    def __getitem__(self, index: Any) -> Any:
        return _apply(operator.getitem, self, index)

    def __iter__(self) -> Any:
        return _apply(iter, self)

    def __add__(self, other: Any) -> Any:
        return _apply(operator.add, self, other)

    def __radd__(self, other: Any) -> Any:
        return _apply(operator.add, other, self)

    def __sub__(self, other: Any) -> Any:
        return _apply(operator.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        return _apply(operator.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        return _apply(operator.mul, self, other)

    def __rmul__(self, other: Any) -> Any:
        return _apply(operator.mul, other, self)

    def __truediv__(self, other: Any) -> Any:
        return _apply(operator.truediv, self, other)

    def __neg__(self) -> Any:
        return _apply(operator.neg, self)


def _apply(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return rules.apply(list(all_carriers([*args, *kwargs.values()])), function, args, kwargs)
