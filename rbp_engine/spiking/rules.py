"""The rule table: what each torch operation does to a carrier.

An operation belongs to one kind, and each carrier says how that kind acts on it (`spiking/carrier.py`):

    weighted      a convolution or linear layer: commutes with the time mean, expensive
    per_step      acts on each timestep by itself and commutes with the time mean
    max_pool      acts on each timestep by itself, does not commute: the gradient goes to the largest mean
    elementwise   sums and scalings, also between carriers
    batch_norm    in training, with statistics over timesteps; in evaluation an affine map

An operation that is not in the table is refused with the path of the module that used it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rbp_engine.spiking.autograd.batch_norm import BatchNorm
from rbp_engine.spiking.autograd.synchronised_batch_norm import SynchronisedBatchNorm
from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.errors import UnsupportedOperation

# torch's names of the arguments that a carrier can be.
_INPUTS = ("input", "tensors", "other")

Function = Callable[..., Any]
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


def apply(carriers: Sequence[Carrier], function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Apply a torch function; `carriers` are those among its arguments, in order."""
    rule = RULES.get(function.__name__)
    if rule is None:
        raise UnsupportedOperation(function.__name__)
    for carrier in carriers:
        carrier.check_checkpointing()
    if len({type(carrier) for carrier in carriers}) > 1:
        raise UnsupportedOperation(function.__name__, "its arguments are carriers of different kinds")
    lengths = {carrier.timesteps for carrier in carriers}
    if len(lengths) > 1:
        raise ValueError(f"{function.__name__}: sequences of different length meet, T = {sorted(lengths)}")
    named = [name for name in _INPUTS if name in kwargs]
    args = (*args, *(kwargs[name] for name in named))
    return rule(carriers[0], function, args, {name: kwargs[name] for name in kwargs if name not in named})


def _weighted(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Weights are cast to the type of their input, so that float32 weights serve a network in low precision."""

    def cast(value: Any) -> Any:
        is_weight = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != carrier.dtype
        return carrier.cast_weight(value) if is_weight and carrier.dtype.is_floating_point else value

    return type(carrier).weighted(function, *map(cast, args), **{key: cast(kwargs[key]) for key in kwargs})


def _per_step(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    return type(carrier).per_step(function, args, kwargs)


def _max_pool(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    if kwargs.get("return_indices"):
        raise UnsupportedOperation(function.__name__, "the indices of the maximum differ from step to step")
    return type(carrier).max_pool(function, args, kwargs)


def _batch_norm(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    x, *settings = args
    if x.processes is None:
        norm = BatchNorm(*settings, **kwargs)
    else:
        norm = SynchronisedBatchNorm(*settings, **kwargs, processes=x.processes)
    return type(carrier).batch_norm(x, norm) if norm.training else type(carrier).fixed_batch_norm(x, norm)


def _dropout(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """One mask for all timesteps, so that it commutes with the time mean."""
    _, *rest = args
    mask = carrier.dropout_mask(lambda: function(torch.ones_like(carrier.batch, requires_grad=False), *rest, **kwargs))
    return type(carrier).elementwise(operator.mul, (carrier, mask))


def _flatten(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    start = args[1] if len(args) > 1 else kwargs.get("start_dim", 0)
    if start % carrier.ndim == 0:
        raise UnsupportedOperation(function.__name__, "the batch dimension must stay, use start_dim=1")
    return type(carrier).per_step(function, args, kwargs)


def _reshape(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """The new shape is the one that a module sees; T stays out of it, so the batch must stay the first dimension."""
    target = torch.empty(carrier.shape, device="meta").reshape(*args[1:], **kwargs).shape
    if not target or target[0] != carrier.shape[0]:
        raise UnsupportedOperation(
            function.__name__, f"from {list(carrier.shape)} to {list(target)} the batch dimension must stay first"
        )
    if len(target) == 2:
        return type(carrier).per_step(torch.flatten, (carrier, 1), {})
    return type(carrier).per_step(lambda x: x.reshape(x.shape[0], *target[1:]), (carrier,), {})


def _over_space(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    dims = args[1] if len(args) > 1 else kwargs.get("dim")
    dims = (dims,) if isinstance(dims, int) else dims
    if not dims or any(dim % carrier.ndim == 0 for dim in dims):
        raise UnsupportedOperation(function.__name__, "name the dimensions, and leave out the batch (0)")
    return type(carrier).per_step(function, args, kwargs)


def _index(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """A part of each timestep, such as some of its channels."""
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    whole_batch = isinstance(index[0], slice) and index[0] == slice(None)
    if not whole_batch or not all(isinstance(part, (int, slice)) for part in index):
        raise UnsupportedOperation(
            function.__name__, "indexing leaves the batch whole, and numbers and slices come after it: x[:, …]"
        )
    return type(carrier).per_step(lambda x: x[index], (carrier,), {})


def _cat(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    parts = args[0]
    if dim % carrier.ndim == 0 or any(not isinstance(part, type(carrier)) for part in parts):
        raise UnsupportedOperation(function.__name__, "only sequences of spikes can be joined, not along the batch")
    return type(carrier).per_step(lambda *tensors: torch.cat(tensors, dim), tuple(parts), {})


def _elementwise(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    for other in args:
        if isinstance(other, type(carrier)):
            fits = other.ndim == carrier.ndim
        else:
            fits = not isinstance(other, Tensor) or other.ndim <= carrier.ndim
        if not fits:
            raise UnsupportedOperation(function.__name__, f"{list(other.shape)} against {list(carrier.shape)}")
    if kwargs.get("rounding_mode") is not None:
        raise UnsupportedOperation(function.__name__, "rounding does not commute with the time mean")
    return type(carrier).elementwise(function, args, **kwargs)


def _timeless(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """A constant of the shape that the module sees."""
    return function(carrier.batch.detach(), *args[1:], **kwargs)


RULES: dict[str, Callable[[Carrier, Function, Arguments, Keywords], Any]] = {
    "conv1d": _weighted,
    "conv2d": _weighted,
    "linear": _weighted,
    "batch_norm": _batch_norm,
    "avg_pool1d": _per_step,
    "avg_pool2d": _per_step,
    "adaptive_avg_pool1d": _per_step,
    "adaptive_avg_pool2d": _per_step,
    "max_pool1d": _max_pool,
    "max_pool2d": _max_pool,
    "adaptive_max_pool1d": _max_pool,
    "adaptive_max_pool2d": _max_pool,
    "dropout": _dropout,
    "dropout1d": _dropout,
    "dropout2d": _dropout,
    "flatten": _flatten,
    "reshape": _reshape,
    "view": _reshape,
    "contiguous": _per_step,
    "mean": _over_space,
    "sum": _over_space,
    "getitem": _index,
    "cat": _cat,
    "add": _elementwise,
    "sub": _elementwise,
    "mul": _elementwise,
    "div": _elementwise,
    "truediv": _elementwise,
    "neg": _elementwise,
    "ones_like": _timeless,
    "zeros_like": _timeless,
}
