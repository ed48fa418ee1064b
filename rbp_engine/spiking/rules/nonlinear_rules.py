"""The rules of operations that do not commute with the time mean (`spiking/nonlinear.py` has the mathematics).

norms, softmax                a backward of their own at the mean, with time means of their statistics
of each number                φ(x_t)            exp, abs, x**2, …
of several at once            φ(a_t, b_t)       a / b, maximum, …
of a row                      φ(x_1t … x_nt)    norms of vectors, variance, …
maxima, minima                the value is the mean of the steps' maxima, the gradient goes to the largest mean
products of activations       attention without softmax is this twice, a gate and squeeze-and-excite once
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.linear import OpenCall
from rbp_engine.spiking.nonlinear import (
    AtMean,
    GroupNorm,
    LayerNorm,
    LogSoftmax,
    MatrixProduct,
    MaxPool2d,
    Nonlinear,
    Normalize,
    Pointwise,
    Product,
    Reduction,
    RMSNorm,
    Softmax,
)
from rbp_engine.spiking.rules.linear_rules import (
    Arguments,
    Function,
    Keywords,
    Rule,
    cast,
    check_dimensions,
    drawn_once,
    elementwise,
    linear,
)


def nonlinear(operation: Nonlinear, *inputs: Carrier) -> Any:
    return type(inputs[0]).nonlinear(operation, inputs)


def softmax(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """p_t, or log p_t, over a dimension of each sample."""
    dim: Any = args[1] if len(args) > 1 else kwargs.get("dim")
    _dims(carrier, function.__name__, dim)
    warn_of_numbers(function.__name__)
    dtype = kwargs.get("dtype", args[-1] if len(args) > 2 and not isinstance(args[-1], int) else None)
    return nonlinear((Softmax if function.__name__ == "softmax" else LogSoftmax)(dim, dtype), carrier)


def _by_signature(rule: Callable[..., Any]) -> Rule:
    """A rule that takes torch's own arguments, the carrier first."""
    return lambda carrier, function, args, kwargs: rule(carrier, *args[1:], **kwargs)


def group_norm(
    x: Carrier, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Any:
    return nonlinear(GroupNorm(num_groups, cast(x, weight), cast(x, bias), eps), x)


def layer_norm(
    x: Carrier, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Any:
    _check_shape(x, "layer_norm", normalized_shape)
    return nonlinear(LayerNorm(tuple(normalized_shape), cast(x, weight), cast(x, bias), eps), x)


def rms_norm(x: Carrier, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Any:
    _check_shape(x, "rms_norm", normalized_shape)
    return nonlinear(RMSNorm(tuple(normalized_shape), cast(x, weight), eps), x)


def normalize(x: Carrier, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Any:
    if p != 2 or out is not None:
        raise UnsupportedOperation("normalize", "only the Euclidean norm, p=2, and no out=")
    _dims(x, "normalize", dim)
    return nonlinear(Normalize(dim, eps), x)


def pointwise(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """φ of each number, or of the numbers of several tensors that broadcast; at least one is a carrier."""
    name = function.__name__
    _check_by_position(name, kwargs)
    warn_of_numbers(name)
    call = OpenCall.of(function, args, {key: kwargs[key] for key in kwargs if key != "inplace"}, Carrier, Tensor)
    if len(call.places) == 1:
        out = nonlinear(Pointwise(call), carrier)
    else:
        tensors = _of_one_shape(carrier, name, [args[place] for place in call.places])
        last = Reduction(lambda stacked: call(*stacked.unbind(-1)), dims=(-1,))
        out = nonlinear(last, torch.stack(tensors, -1))  # type: ignore[arg-type]
    return carrier.become(out, name) if kwargs.get("inplace") else out


def _of_one_shape(carrier: Carrier, name: str, tensors: list[Any]) -> list[Any]:
    """Carriers and tensors without time, expanded to the shape of the output."""
    check_dimensions(carrier, name, tensors)
    shape = torch.broadcast_shapes(*(other.shape for other in tensors))
    return [other.expand(shape) for other in drawn_once(carrier, tensors)]


def _div(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Linear, unless the divisor is a carrier."""
    if not isinstance(args[1], Carrier):
        return elementwise(carrier, function, args, kwargs)
    if kwargs.get("rounding_mode") is not None:
        raise UnsupportedOperation(function.__name__, "rounding has no slope; divide without rounding_mode")
    return pointwise(carrier, function, args, {})


def reduction(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """One number for each row along the given dimensions, which exclude the batch."""
    name, place = function.__name__, _DIM_AT.get(function.__name__, 1)
    dims = args[place] if len(args) > place else kwargs.get("dim")
    if isinstance(dims, bool):
        dims = None
    behind = tuple(dim % carrier.ndim - carrier.ndim for dim in _dims(carrier, name, dims))
    return nonlinear(Reduction(lambda x: function(x, *args[1:], **kwargs), dims=behind), carrier)


def at_mean(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """An operation that takes its gradient at the means of its carriers."""
    kind = MaxPool2d if function.__name__ == "max_pool2d" else AtMean
    carriers = [arg for arg in args if isinstance(arg, Carrier)]
    return nonlinear(kind(OpenCall.of(function, args, kwargs, Carrier)), *carriers)


def _max_pool(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    if kwargs.get("return_indices"):
        raise UnsupportedOperation(function.__name__, "the indices of the maximum differ from step to step")
    return at_mean(carrier, function, args, kwargs)


class NoIndices:
    """Stands for the indices of maxima or minima, and refuses to be used."""

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


def _amax(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """The maxima over one or several dimensions, or the minima."""
    _dims(carrier, function.__name__, args[1] if len(args) > 1 else kwargs.get("dim"))
    return at_mean(carrier, function, args, kwargs)


def _max(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """`x.max(dim)` and `x.min(dim)`; or the larger of two activations, `x.max(y)`."""
    if len(args) > 1 and isinstance(args[1], (Carrier, Tensor)):
        return pointwise(carrier, function, args, kwargs)
    return _values(carrier, function, args, kwargs, args[1] if len(args) > 1 else kwargs.get("dim"))


def _topk(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """The k largest along a dimension."""
    return _values(carrier, function, args, kwargs, args[2] if len(args) > 2 else kwargs.get("dim", -1))


def _values(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords, dim: Any) -> Largest:
    name = function.__name__
    _dims(carrier, name, dim)
    values = at_mean(carrier, lambda *args, **kwargs: function(*args, **kwargs)[0], args, kwargs)
    return Largest(values, NoIndices(name))


def product(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """f(a_t, b_t) of two carriers or more, linear in each; of one and tensors without time it is linear."""
    _check_by_position(function.__name__, kwargs)
    given = [cast(carrier, arg) for arg in drawn_once(carrier, args)]
    carriers = [arg for arg in given if isinstance(arg, Carrier)]
    if len(carriers) == 1:
        return linear(carrier, function, given, kwargs, weights="product")
    call = OpenCall.of(function, given, kwargs, Carrier, Tensor)
    if call.name in ("matmul", "bmm") and all(x.ndim > 1 for x in carriers):
        return nonlinear(MatrixProduct(call), *carriers)
    return nonlinear(Product(call, tuple(arg for arg in given if isinstance(arg, Tensor))), *carriers)


def _mul(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    both = all(isinstance(factor, Carrier) for factor in args)
    return (product if both else elementwise)(carrier, function, args, kwargs)


def _einsum(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """A product of the operands of an equation, which torch also accepts as a list."""
    equation, *operands = args
    operands = list(operands[0]) if isinstance(operands[0], (tuple, list)) else operands
    return product(carrier, function, (equation, *operands), kwargs)


def _addcmul(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    added, left, right = args
    return added + left * right * kwargs.get("value", 1.0)


@cache
def warn_of_numbers(operation: str) -> None:
    """Warn once for each operation. Python repeats a warning whenever anything, such as torch, changes its filters."""
    warnings.warn(
        f"{operation} gives numbers that are no spikes: it is computed at every timestep, and trained with an "
        "approximate gradient by the rate methods. Put a neuron there to have spikes",
        stacklevel=1,
    )


def _dims(x: Carrier, operation: str, dims: Any) -> tuple[int, ...]:
    """The given dimensions. Raises UnsupportedOperation if there are none, or if the batch is among them."""
    dims = (dims,) if isinstance(dims, int) else dims
    if not isinstance(dims, (tuple, list)) or not dims or any(dim % x.ndim == 0 for dim in dims):
        raise UnsupportedOperation(operation, "name the dimensions, and leave out the batch (0)")
    return tuple(dims)


def _check_by_position(operation: str, kwargs: Keywords) -> None:
    if any(isinstance(x, Tensor) and (x.ndim or x.requires_grad) for x in kwargs.values()):
        raise UnsupportedOperation(operation, "give it tensors by position, not by keyword")


def _check_shape(x: Carrier, operation: str, normalized_shape: Any) -> None:
    if len(normalized_shape) >= x.ndim:
        raise UnsupportedOperation(operation, "over the batch dimension: leave it out of normalized_shape")


_DIFFER: Final = "the indices of maxima and minima differ from step to step; use their values alone"
# Where torch's functions have the dimension, if not 1.
_DIM_AT: Final = {"norm": 2, "linalg_vector_norm": 2}
# What `function.__name__` is for these: those of torch, and those of Python's `operator`.
POINTWISE: Final = (
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "log_sigmoid", "tanh"),
    *("hardtanh", "hardswish", "hardsigmoid", "softplus", "softsign", "clamp", "clip", "clamp_min", "clamp_max"),
    *("abs", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "reciprocal", "pow", "sin", "cos", "erf"),
    *("maximum", "minimum"),
)
REDUCTIONS: Final = ("norm", "linalg_vector_norm", "var", "std", "logsumexp", "prod")
RULES: dict[str, Rule] = {
    **dict.fromkeys(("softmax", "log_softmax"), softmax),
    "group_norm": _by_signature(group_norm),
    "layer_norm": _by_signature(layer_norm),
    "normalize": _by_signature(normalize),
    "rms_norm": _by_signature(rms_norm),
    **dict.fromkeys(POINTWISE, pointwise),
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(("div", "truediv"), _div),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _max_pool),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"), _max_pool),
    **dict.fromkeys(("amax", "amin"), _amax),
    **dict.fromkeys(("max", "min"), _max),
    "topk": _topk,
    "mul": _mul,
    **dict.fromkeys(("matmul", "bmm", "mm", "tensordot", "addmm", "baddbmm"), product),
    "einsum": _einsum,
    "addcmul": _addcmul,
}
