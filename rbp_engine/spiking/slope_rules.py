"""The rules of functions φ whose every input number counts for one output number; the gradient has the mean slope.

    of each number        φ(x_t)            exp, abs, x**2, …
    of several at once    φ(a_t, b_t)       a / b, maximum, prelu's input and weight, …
    of a row              φ(x_1t … x_nt)    norms, variance, …

The value is mean_t φ_t, and the gradient of each input is ∂L/∂r_i = ∂L/∂r_out ⊙ mean_t ∂φ/∂x_{i,t}: the mean of the
Jacobian itself, with nothing left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rbp_engine.spiking.autograd.nonlinear import Pointwise, Reduction
from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.errors import UnsupportedOperation

Function = Callable[..., Any]
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]

# Where torch's functions have the dimension, if not 1, and whether they have a default that stands for all dimensions.
_DIM_AT = {"norm": 2, "linalg_vector_norm": 2}


def pointwise(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """φ of each number, or of the numbers of several tensors that broadcast; at least one is a carrier."""
    name = function.__name__
    if any(isinstance(x, Tensor) and (x.ndim or x.requires_grad) for x in kwargs.values()):
        raise UnsupportedOperation(name, "give it tensors by position, not by keyword")
    settings = {key: kwargs[key] for key in kwargs if key != "inplace"}
    places = [place for place, arg in enumerate(args) if isinstance(arg, (Carrier, Tensor))]
    warn_of_numbers(name)

    def of(*values: Tensor) -> Tensor:
        filled = list(args)
        for place, value in zip(places, values, strict=True):
            filled[place] = value
        result: Tensor = function(*filled, **settings)
        return result

    if len(places) == 1:
        out = type(carrier).nonlinear(carrier, Pointwise(of))
    else:
        tensors = _of_one_shape(carrier, name, [args[place] for place in places])
        last = Reduction(lambda stacked: of(*stacked.unbind(-1)), dims=(-1,))
        out = type(carrier).nonlinear(torch.stack(tensors, -1), last)  # type: ignore[arg-type]
    if not kwargs.get("inplace"):
        return out
    carrier.become(out, name)
    return carrier


def _of_one_shape(carrier: Carrier, name: str, tensors: list[Any]) -> list[Any]:
    """Carriers and tensors without time as if they were as large as the output."""
    for other in tensors:
        fits = other.ndim == carrier.ndim if isinstance(other, Carrier) else other.ndim <= carrier.ndim
        if not fits:
            raise UnsupportedOperation(name, f"{list(other.shape)} against {list(carrier.shape)}")
    shape = torch.broadcast_shapes(*(other.shape for other in tensors))
    return [other.expand(shape) for other in carrier.all_drawn_once(tensors)]


def prelu(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """x where it is above 0, else weight·x; the weight is one number, or one for each channel."""
    x, weight = args
    if isinstance(weight, Carrier):
        raise UnsupportedOperation("prelu", "its weight must be a parameter")
    if weight.numel() > 1:
        weight = weight.reshape(-1, *[1] * (x.ndim - 2))
    return pointwise(carrier, _prelu, (x, weight), {})


def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    return torch.where(x > 0, x, weight * x)


_prelu.__name__ = "prelu"


def quotient(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """a / b, with a carrier below."""
    if kwargs.get("rounding_mode") is not None:
        raise UnsupportedOperation(function.__name__, "rounding has no slope; divide without rounding_mode")
    return pointwise(carrier, function, args, {})


def reduction(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """One number for each row along the dimensions that it names, the batch not among them."""
    name, place = function.__name__, _DIM_AT.get(function.__name__, 1)
    dims = args[place] if len(args) > place else kwargs.get("dim")
    dims = (dims,) if isinstance(dims, int) and not isinstance(dims, bool) else dims
    if not isinstance(dims, (tuple, list)) or not dims or any(dim % carrier.ndim == 0 for dim in dims):
        raise UnsupportedOperation(name, "name the dimensions, and leave out the batch (0)")
    behind = tuple(dim % carrier.ndim - carrier.ndim for dim in dims)
    return type(carrier).nonlinear(carrier, Reduction(lambda x: function(x, *args[1:], **kwargs), dims=behind))


def warn_of_numbers(operation: str) -> None:
    """Python shows a warning of one text and place once."""
    warnings.warn(
        f"{operation} gives numbers that no spiking network has: it is computed at every timestep, and trained with an "
        "approximate gradient by the rate methods. Put a neuron there to have spikes",
        stacklevel=1,
    )


# What `function.__name__` is for these: those of torch, and those of Python's `operator`.
POINTWISE = (
    *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "log_sigmoid", "tanh"),
    *("hardtanh", "hardswish", "hardsigmoid", "softplus", "softsign", "clamp", "clip", "clamp_min", "clamp_max"),
    *("abs", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "reciprocal", "pow", "sin", "cos", "erf"),
    *("maximum", "minimum"),
)
REDUCTIONS = ("norm", "linalg_vector_norm", "var", "std", "logsumexp", "prod")
