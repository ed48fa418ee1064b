"""Products of two activations: attention without softmax is this twice, a gate and squeeze-and-excite once.

Of f(a, b), linear in a and in b, the rate methods take

    r_out = mean_t f(a_t, b_t)        ∂L/∂r_a = f(·, r_b)ᵀ ∂L/∂r_out        ∂L/∂r_b = f(r_a, ·)ᵀ ∂L/∂r_out

With ∂L/∂r_out the same at every step this is the time mean of the steps' own gradients, mean_t f(·, b_t)ᵀ g =
f(·, r_b)ᵀ g. It is exact where a or b is the same at every step, and where the two do not vary together in time; what
is lost is the correlation of one factor with the other's eligibility.

A product with a tensor without time is linear in the one activation, and commutes with the time mean. Where that tensor
is a weight, OTTT forms its gradient with the trace, as that of a linear layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rbp_engine.spiking.carrier import Carrier, all_carriers


def product(carrier: Carrier, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """f(a_t, b_t) of two carriers or more, or of one and tensors without time, which get its type."""

    def cast(value: Any) -> Any:
        is_constant = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != carrier.dtype
        return carrier.cast_weight(value) if is_constant and carrier.dtype.is_floating_point else value

    kind = type(carrier)
    several = len(list(all_carriers(args))) > 1
    return (kind.bilinear if several else kind.linear)(function, tuple(map(cast, carrier.all_drawn_once(args))), kwargs)


def einsum(carrier: Carrier, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same of the operands of an equation, which torch takes as a list, too."""
    equation, *operands = args
    operands = list(operands[0]) if isinstance(operands[0], (tuple, list)) else operands
    return product(carrier, function, (equation, *operands), kwargs)
