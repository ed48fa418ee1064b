"""Products of two activations: attention without softmax is this twice, a gate and squeeze-and-excite once.

Of f(a, b), linear in a and in b, the rate methods take

    r_out = mean_t f(a_t, b_t)        ∂L/∂r_a = f(·, r_b)ᵀ ∂L/∂r_out        ∂L/∂r_b = f(r_a, ·)ᵀ ∂L/∂r_out

which is exact where a or b is the same at every step, and where the two do not vary together in time. A product with a
tensor without time is linear in the one activation, and commutes with the time mean.

The functions here are rules (`spiking/rules.py`). They see to it that every sample stays by itself, so that T can be
folded into the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.errors import UnsupportedOperation

Function = Callable[..., Any]
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


def mul(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """a_t ⊙ b_t of two carriers."""
    left, right = args
    if left.ndim != right.ndim or left.shape[0] != right.shape[0]:
        raise UnsupportedOperation(function.__name__, f"{list(right.shape)} against {list(left.shape)}")
    return type(carrier).bilinear(function, args, kwargs)


def matmul(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """a_t·b_t, with the batch in front; either may be a tensor without time."""
    left, right = args
    # Rows [B, F] times a matrix, or batches of matrices [B, …, M, N]: a carrier [B, F] is no matrix.
    rows = isinstance(left, Carrier) and not isinstance(right, Carrier) and left.ndim == 2 and right.ndim <= 2
    carried = {factor.ndim for factor in args if isinstance(factor, Carrier)}
    matrices = len(carried) == 1 and carrier.ndim > 2 and max(left.ndim, right.ndim) == carrier.ndim
    if not rows and not matrices:
        raise UnsupportedOperation(
            function.__name__,
            f"of {list(left.shape)} and {list(right.shape)}: the batch must stay the first dimension of both",
        )
    return _product(carrier, torch.matmul, args, [not rows and factor.ndim == carrier.ndim for factor in args])


def einsum(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Any product that einsum can write, of carriers and of tensors without time."""
    equation, *operands = args
    factors = tuple(operands[0]) if isinstance(operands[0], (tuple, list)) else tuple(operands)
    inputs, _, output = equation.replace(" ", "").partition("->") if isinstance(equation, str) else ("", "", "")
    subscripts = inputs.split(",")
    if len(subscripts) != len(factors) or not output:
        raise UnsupportedOperation("einsum", f"{equation!r} does not name its output, as 'bij,bjk->bik' does")
    dots = {_dots(s, x) for s, x in zip(subscripts, factors, strict=True) if isinstance(x, Carrier)}
    batch = _first(output)
    of_carriers = [s for s, x in zip(subscripts, factors, strict=True) if isinstance(x, Carrier)]
    if any(_first(s) != batch or s.count(batch) > 1 for s in [output, *of_carriers]) or (
        batch == "..." and len(dots) > 1
    ):
        raise UnsupportedOperation(
            "einsum", f"{equation!r}: the batch must stay the first dimension of each activation, and of the output"
        )
    with_batch = [
        _dots(s, x) in dots if batch == "..." else _first(s) == batch for s, x in zip(subscripts, factors, strict=True)
    ]
    if any(batch in s and _first(s) != batch for s in subscripts):
        raise UnsupportedOperation("einsum", f"{equation!r}: where a tensor has the batch, it comes first")
    return _product(carrier, lambda *values: torch.einsum(equation, *values), factors, with_batch)


def _first(subscripts: str) -> str:
    """The letter of the first dimension, or the dots that it is one of."""
    return "..." if subscripts.startswith("...") else subscripts[:1]


def _dots(subscripts: str, factor: Any) -> int:
    """How many dimensions the dots stand for. They stand for the last ones, so the first is the batch if they are as
    many in all factors.
    """
    return int(factor.ndim) - len(subscripts.replace("...", ""))


def _product(carrier: Carrier, product: Callable[..., Tensor], factors: Arguments, with_batch: list[bool]) -> Any:
    """The product of carriers and tensors without time; those `with_batch` have the batch as their first dimension."""
    varying = [isinstance(factor, Carrier) for factor in factors]
    constants = [carrier.cast_weight(x) if _to_cast(carrier, x) else x for x in factors]
    batches = {len(x) for x, has_batch in zip(factors, with_batch, strict=True) if has_batch} - {1}
    if not batches <= {carrier.shape[0]}:
        raise UnsupportedOperation("matmul", f"batches of different size meet: {[list(x.shape) for x in factors]}")
    repeated = [
        not is_carrier and has_batch and len(x) > 1
        for x, is_carrier, has_batch in zip(constants, varying, with_batch, strict=True)
    ]

    def of_steps(*values: Tensor) -> Tensor:
        """T·B samples of the carriers; a constant of the batch meets those of each timestep."""
        samples = len(values[varying.index(True)])
        return product(*(_repeat(x, samples) if many else x for x, many in zip(values, repeated, strict=True)))

    kind = type(carrier)
    return (kind.bilinear if sum(varying) > 1 else kind.per_step)(of_steps, tuple(constants), {})


def _repeat(constant: Tensor, samples: int) -> Tensor:
    return constant.repeat(samples // len(constant), *[1] * (constant.ndim - 1))


def _to_cast(carrier: Carrier, factor: Any) -> bool:
    floating = isinstance(factor, Tensor) and factor.is_floating_point() and carrier.dtype.is_floating_point
    return floating and factor.dtype != carrier.dtype
