"""The rules of operations that are not linear in their input (`autograd/nonlinear.py` has the mathematics)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rbp_engine.spiking.autograd.nonlinear import GroupNorm, LayerNorm, LogSoftmax, Normalize, RMSNorm, Softmax
from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.slope_rules import warn_of_numbers

Function = Callable[..., Any]
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


def softmax(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """p_t over a dimension of each sample."""
    return type(carrier).nonlinear(carrier, Softmax(*_dim_and_type(carrier, function, args, kwargs)))


def log_softmax(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """log p_t over a dimension of each sample."""
    return type(carrier).nonlinear(carrier, LogSoftmax(*_dim_and_type(carrier, function, args, kwargs)))


def _dim_and_type(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> tuple[int, Any]:
    dim: Any = args[1] if len(args) > 1 else kwargs.get("dim")
    _check_dim(carrier, function.__name__, dim)
    warn_of_numbers(function.__name__)
    return dim, kwargs.get("dtype", args[-1] if len(args) > 2 and not isinstance(args[-1], int) else None)


def group_norm(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    return _group_norm(carrier, *args[1:], **kwargs)


def _group_norm(
    x: Carrier, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Any:
    return type(x).nonlinear(x, GroupNorm(num_groups, _cast(x, weight), _cast(x, bias), eps))


def layer_norm(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    return _layer_norm(carrier, *args[1:], **kwargs)


def _layer_norm(
    x: Carrier, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Any:
    if len(normalized_shape) >= x.ndim:
        raise UnsupportedOperation("layer_norm", "over the batch dimension: leave it out of normalized_shape")
    return type(x).nonlinear(x, LayerNorm(tuple(normalized_shape), _cast(x, weight), _cast(x, bias), eps))


def rms_norm(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    return _rms_norm(carrier, *args[1:], **kwargs)


def _rms_norm(x: Carrier, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Any:
    if len(normalized_shape) >= x.ndim:
        raise UnsupportedOperation("rms_norm", "over the batch dimension: leave it out of normalized_shape")
    return type(x).nonlinear(x, RMSNorm(tuple(normalized_shape), _cast(x, weight), eps))


def instance_norm(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    return _instance_norm(carrier, *args[1:], **kwargs)


def _instance_norm(
    x: Carrier,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """A group norm with a group per channel."""
    if running_mean is not None or running_var is not None or not use_input_stats:
        raise UnsupportedOperation(
            "instance_norm", "with running statistics; make the layer with track_running_stats=False"
        )
    if x.like[0, 0].numel() == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {list(x.shape)}")
    return type(x).nonlinear(x, GroupNorm(x.shape[1], _cast(x, weight), _cast(x, bias), eps))


def normalize(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    return _normalize(carrier, *args[1:], **kwargs)


def _normalize(x: Carrier, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Any:
    if p != 2 or out is not None:
        raise UnsupportedOperation("normalize", "only the Euclidean norm, p=2, and no out=")
    _check_dim(x, "normalize", dim)
    return type(x).nonlinear(x, Normalize(dim, eps))


def _cast(x: Carrier, weight: Tensor | None) -> Tensor | None:
    return weight if weight is None or weight.dtype == x.dtype else x.cast_weight(weight)


def _check_dim(x: Carrier, operation: str, dim: Any) -> None:
    if not isinstance(dim, int) or dim % x.ndim == 0:
        raise UnsupportedOperation(operation, "name one dimension, and not the batch (0)")
