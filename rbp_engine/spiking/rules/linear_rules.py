"""The rules of linear operations: what each torch function of them is as a `Linear` (`spiking/linear.py`)."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.linear import Linear, OpenCall, Over, Weights

Function = Callable[..., Any]
Arguments = Sequence[Any]
Keywords = dict[str, Any]
Rule = Callable[[Carrier, Function, Arguments, Keywords], Any]


def linear(
    carrier: Carrier,
    function: Function,
    args: Sequence[Any],
    kwargs: Keywords,
    *,
    over: Over = "step",
    moves: bool = False,
    weights: Weights = "none",
) -> Any:
    """A function that is linear in the carriers among its arguments together (`spiking/linear.py`: `Linear`)."""
    operation = Linear(OpenCall.of(function, args, kwargs, Carrier), over, moves, weights)
    return type(carrier).linear(operation, [arg for arg in args if isinstance(arg, Carrier)])


per_sample = partial(linear, over="batch")


def drawn_once(carrier: Carrier, args: Iterable[Any]) -> list[Any]:
    """The arguments; tensors without time among them are the same at every timestep."""
    return [carrier.drawn_once(arg) if isinstance(arg, Tensor) else arg for arg in args]


def cast(carrier: Carrier, value: Any) -> Any:
    """Weights are cast to the type of their input, so that float32 weights serve a network in low precision."""
    is_weight = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != carrier.dtype
    return carrier.cast_weight(value) if is_weight and carrier.dtype.is_floating_point else value


def layer(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """A convolution or a linear layer, with its weight and bias in the type of its input."""
    weight = args[1] if len(args) > 1 else kwargs["weight"]
    if carrier.ndim < 2 or (weight.ndim > 2 and carrier.ndim != weight.ndim):
        raise UnsupportedOperation(function.__name__, f"{list(carrier.shape)} has no batch dimension")
    given = [carrier, *(cast(carrier, value) for value in args[1:])]
    named = {key: cast(carrier, kwargs[key]) for key in kwargs}
    return linear(carrier, function, given, named, over="batch", weights="layer")


def _moved(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Entries are moved, repeated or left out; those of a tensor without time in `scale.expand_as(x)`."""
    if function.__name__ == "moveaxis":
        function = torch.movedim  # vmap knows only this name
    return linear(carrier, function, drawn_once(carrier, args), kwargs, moves=args[0] is carrier)


def _view(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """An operation that moves entries without a copy."""
    return carrier.make_view(_moved(carrier, function, args, kwargs))


def window(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords, over: Over = "step") -> Any:
    """An operation that may return a view, and may calculate with the entries that it moves."""
    return carrier.make_view(linear(carrier, function, args, kwargs, over=over))


def _pieces(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Several carriers, one for each part."""
    number = len(function(torch.empty(carrier.shape, device="meta"), *args[1:], **kwargs))

    def piece(x: Tensor, which: int) -> Any:
        return function(x, *args[1:], **kwargs)[which]

    parts = (linear(carrier, piece, (carrier, which), {}, moves=True) for which in range(number))
    return tuple(carrier.make_view(part) for part in parts)


def _joined(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Carriers, and tensors without time among them."""
    parts = [cast(carrier, part) for part in drawn_once(carrier, args[0])]
    return linear(carrier, lambda *tensors: function(tensors, *args[1:], **kwargs), parts, {})


def _copied(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    carrier.resolve()
    copied = copy.copy(carrier)
    copied._changes, copied._follows = [], 0
    return copied


def _converted(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Conversion to another type or device; as with a tensor, the carrier itself if it has them already."""
    if args[0] is not carrier:
        return _timeless(carrier, function, args, kwargs)
    others = [other.like if isinstance(other, Carrier) else other for other in args[1:]]
    becomes = function(carrier.like.detach(), *others, **kwargs)
    if not isinstance(becomes, Tensor):
        return becomes
    if not becomes.is_floating_point():
        raise UnsupportedOperation(function.__name__, "rounding does not commute with the time mean")
    if (becomes.dtype, becomes.device) == (carrier.dtype, carrier.like.device):
        return carrier
    return linear(carrier, lambda x: x.to(becomes.device, becomes.dtype), (carrier,), {})


def _timeless(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """A constant, a property, or a tensor without time, from the shape, type and device that the module sees.

    Examples are `x.numel()`, `mask.to(x)` and `position.view_as(x)`.
    """
    return function(*(arg.like.detach() if isinstance(arg, Carrier) else arg for arg in args), **kwargs)


def _dropout(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """One mask for all timesteps, so that it commutes with the time mean. In evaluation torch returns its argument."""
    if not (args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True))):
        return carrier
    _, *rest = args
    mask = carrier.dropout_mask(lambda: function(torch.ones_like(carrier.like, requires_grad=False), *rest, **kwargs))
    out = linear(carrier, operator.mul, (carrier, mask), {}, over="numbers")
    return carrier.become(out, function.__name__) if kwargs.get("inplace") else out


def _reshape(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """The new shape is the one that a module sees, without T."""
    if args[0] is not carrier:
        return _timeless(carrier, function, args, kwargs)
    shape = (args[1].shape,) if function.__name__ in ("reshape_as", "view_as") else args[1:]
    target = torch.empty(carrier.shape, device="meta").reshape(*shape, **kwargs).shape
    if carrier.ndim > 1 and len(target) == 2 and target[0] == carrier.shape[0]:
        return _view(carrier, torch.flatten, (carrier, 1), {})
    return _view(carrier, lambda x: x.reshape(target), (carrier,), {})


def _over_dims(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    dims = args[1] if len(args) > 1 else kwargs.get("dim")
    dims = (dims,) if isinstance(dims, int) else dims
    if not dims:
        raise UnsupportedOperation(function.__name__, "name the dimensions")
    over_batch = any(dim % carrier.ndim == 0 for dim in dims)
    return linear(carrier, function, args, kwargs, over="step" if over_batch else "batch")


def _index(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """A part of each timestep, such as some of its channels; the index is the same at every step."""
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    if args[0] is not carrier or any(isinstance(part, Carrier) for part in index):
        raise UnsupportedOperation(function.__name__, "the index differs from step to step")
    index = tuple(drawn_once(carrier, index))
    return _view(carrier, lambda x: x[index], (carrier,), {})


def check_dimensions(carrier: Carrier, operation: str, values: Iterable[Any]) -> None:
    """Raise UnsupportedOperation unless carriers have as many dimensions as this one, and tensors at most as many."""
    for other in values:
        more = other.ndim - carrier.ndim if isinstance(other, Carrier | Tensor) else 0
        if more > 0 or (more and isinstance(other, Carrier)):
            raise UnsupportedOperation(operation, f"{list(other.shape)} against {list(carrier.shape)}")


def elementwise(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    check_dimensions(carrier, function.__name__, args)
    if kwargs.get("rounding_mode") is not None:
        raise UnsupportedOperation(function.__name__, "rounding does not commute with the time mean")
    given = [cast(carrier, arg) for arg in drawn_once(carrier, args)]
    return linear(carrier, function, given, kwargs, over="numbers")


def _where(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Chooses one of two at each place, the same at every step."""
    condition = args[0] if function is torch.where else args[1]
    if isinstance(condition, Carrier) or len(args) != 3:
        raise UnsupportedOperation(function.__name__, "its condition must be the same at every step")
    return elementwise(carrier, function, args, kwargs)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d", "interpolate"), per_sample),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"), per_sample),
    **dict.fromkeys(("mean", "sum"), _over_dims),
    **dict.fromkeys(("cumsum", "pad", "fold"), linear),
    **dict.fromkeys(("add", "sub", "neg", "masked_fill"), elementwise),
    "where": _where,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d"), _dropout),
    **dict.fromkeys(("reshape", "view", "reshape_as", "view_as"), _reshape),
    **dict.fromkeys(("flatten", "unflatten", "squeeze", "unsqueeze", "expand", "expand_as"), _view),
    **dict.fromkeys(("permute", "transpose", "t", "swapaxes", "swapdims", "movedim", "moveaxis"), _view),
    **dict.fromkeys(("narrow", "select", "detach"), _view),
    **dict.fromkeys(("repeat", "repeat_interleave", "tile", "index_select", "gather", "roll", "flip"), _moved),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), _moved),
    "contiguous": partial(window, over="batch"),
    "unfold": window,
    "getitem": _index,
    **dict.fromkeys(("chunk", "split", "tensor_split", "unbind"), _pieces),
    **dict.fromkeys(("cat", "concat", "stack"), _joined),
    "clone": _copied,
    **dict.fromkeys(("to", "type_as", "float", "double", "half", "bfloat16"), _converted),
    **dict.fromkeys(("ones_like", "zeros_like", "full_like", "empty_like"), _timeless),
    **dict.fromkeys(("new_zeros", "new_ones", "new_full", "new_empty", "new_tensor"), _timeless),
    **dict.fromkeys(("numel", "is_floating_point", "is_contiguous"), _timeless),
}
