"""The rule table: what each torch operation does to a carrier.

An operation belongs to one kind, and each carrier says how that kind acts on it (`spiking/carrier.py`):

    weighted      a convolution or linear layer: commutes with the time mean, expensive
    linear        a product of one carrier and tensors without time: commutes with the time mean
    per_step      acts on each timestep by itself and commutes with the time mean
    moved         entries change place, are repeated or left out, with the batch dimension as well; spikes stay bytes
    max_pool      maxima of each timestep: does not commute, the gradient goes to the largest mean
    bilinear      a product of two carriers: does not commute, the gradient is that of the product of the means
    nonlinear     norms, activations, quotients, softmax; the gradient is that of the mean of the Jacobian's parts
    elementwise   sums of carriers, scalings
    batch_norm    in training, with statistics over timesteps; in evaluation an affine map

An operation that is not in the table is refused with the path of the module that used it. One that works in place
(`x += y`, `x.add_(y)`) is the one in the table, whose result the carrier takes over.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.spiking.attention import multi_head_attention, scaled_dot_product_attention
from rbp_engine.spiking.autograd.batch_norm import BatchNorm
from rbp_engine.spiking.autograd.synchronised_batch_norm import SynchronisedBatchNorm
from rbp_engine.spiking.carrier import Carrier, refuse_checkpointing
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.largest import amax, largest, topk
from rbp_engine.spiking.nonlinear_rules import (
    group_norm,
    instance_norm,
    layer_norm,
    log_softmax,
    normalize,
    rms_norm,
    softmax,
)
from rbp_engine.spiking.products import einsum, product
from rbp_engine.spiking.slope_rules import POINTWISE, REDUCTIONS, pointwise, prelu, quotient, reduction

# torch's names of the arguments that a carrier can be.
_INPUTS = ("input", "tensors", "other")

Function = Callable[..., Any]
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


def apply(carriers: Sequence[Carrier], function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Apply a torch function; `carriers` are those among its arguments, in order."""
    name = function.__name__.removesuffix(".default")  # which operations made by torch.library have
    rule = RULES.get(name, OWN_RULES.get(name))
    if rule is None:
        return _in_place(carriers, function, args, kwargs)
    if "axis" in kwargs and name in RULES:  # NumPy's word, which torch takes for its own
        kwargs["dim"] = kwargs.pop("axis")
    refuse_checkpointing()
    for carrier in carriers:
        carrier.check_unchanged(function.__name__)
    if len({type(carrier) for carrier in carriers}) > 1:
        raise UnsupportedOperation(function.__name__, "its arguments are carriers of different kinds")
    lengths = {carrier.timesteps for carrier in carriers}
    if len(lengths) > 1:
        raise ValueError(f"{function.__name__}: sequences of different length meet, T = {sorted(lengths)}")
    named = [name for name in _INPUTS if name in kwargs]
    args = (*args, *(kwargs[name] for name in named))
    if any(isinstance(kwargs[name], Carrier) for name in kwargs if name not in named):
        raise UnsupportedOperation(function.__name__, "give it spikes by position, not by keyword")
    return rule(carriers[0], function, args, {name: kwargs[name] for name in kwargs if name not in named})


def _in_place(carriers: Sequence[Carrier], function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """`x += y` and `x.add_(y)`: the carrier on the left becomes the result, under all its names, as a tensor does."""
    name = function.__name__
    if name.strip("_") == "setitem":
        raise UnsupportedOperation("setitem", "a part; put parts together with torch.cat or torch.where")
    if name in _IN_PLACE_OPERATORS:
        plain = getattr(operator, name.removeprefix("i"))
    else:
        plain = getattr(Tensor, name[:-1], getattr(F, name[:-1], None)) if name.endswith("_") else None
    if plain is None or plain.__name__ not in RULES:
        raise UnsupportedOperation(name)
    target = args[0]
    if not isinstance(target, Carrier):
        raise UnsupportedOperation(name, "a tensor without time cannot become a sequence of spikes; write y = y + x")
    result = apply(carriers, plain, args, kwargs)
    if result.dtype != target.dtype:
        result = result.to(target.dtype)
    target.become(result, name)
    return target


def _weighted(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    if args[0] is not carrier or any(isinstance(value, Carrier) for value in args[1:]):
        return product(carrier, function, args, kwargs)  # an activation for its weight, such as F.linear(q, k)
    weight = args[1] if len(args) > 1 else kwargs["weight"]
    if carrier.ndim < 2 or (weight.ndim > 2 and carrier.ndim != weight.ndim):
        raise UnsupportedOperation(function.__name__, f"{list(carrier.shape)} has no batch dimension")
    weights = [_cast(carrier, value) for value in args]
    return type(carrier).weighted(function, *weights, **{key: _cast(carrier, kwargs[key]) for key in kwargs})


def _cast(carrier: Carrier, value: Any) -> Any:
    """Weights are cast to the type of their input, so that float32 weights serve a network in low precision."""
    is_weight = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != carrier.dtype
    return carrier.cast_weight(value) if is_weight and carrier.dtype.is_floating_point else value


def _per_step(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    return type(carrier).per_step(function, args, kwargs)


def _each_step(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    return type(carrier).each_step(function, args, kwargs)


def _sampled(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Values at places that are the same at every step."""
    if args[0] is not carrier or isinstance(args[1], Carrier):
        raise UnsupportedOperation(function.__name__, "the places must be the same at every step, not made of spikes")
    return product(carrier, function, args, kwargs)


def _moved(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    if function.__name__ == "moveaxis":
        function = torch.movedim  # vmap knows only this name
    return type(carrier).moved(function, carrier.all_drawn_once(args), kwargs, whole_samples=False)


def _view(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """What moves entries without a copy."""
    return carrier.make_view(_moved(carrier, function, args, kwargs))


def _window(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """What may be a view, and may calculate with the entries that it moves."""
    return carrier.make_view(type(carrier).each_step(function, args, kwargs))


def _contiguous(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    return carrier.make_view(type(carrier).per_step(function, args, kwargs))


def _pieces(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Several carriers, one for each part."""
    return tuple(carrier.make_view(piece) for piece in type(carrier).pieces(function, args, kwargs))


def _joined(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Carriers, and tensors without time among them."""
    parts = tuple(_cast(carrier, part) for part in carrier.all_drawn_once(args[0]))
    return type(carrier).each_step(lambda *tensors: function(tensors, *args[1:], **kwargs), parts, {})


def _copied(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    carrier.resolve()
    copied = copy.copy(carrier)
    copied._memory, copied._follows = None, 0
    return copied


def _converted(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """To another type or device; the carrier itself, as with a tensor, if it has them already."""
    if args[0] is not carrier:
        return _like_a_batch(function, args, kwargs)
    others = [other.like if isinstance(other, Carrier) else other for other in args[1:]]
    becomes = function(carrier.like.detach(), *others, **kwargs)
    if not isinstance(becomes, Tensor):
        return becomes
    if not becomes.is_floating_point():
        raise UnsupportedOperation(function.__name__, "rounding does not commute with the time mean")
    if (becomes.dtype, becomes.device) == (carrier.dtype, carrier.like.device):
        return carrier
    return type(carrier).each_step(lambda x: x.to(becomes.device, becomes.dtype), (carrier,), {})


def _like_a_batch(function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """A tensor without time, in the shape, type or device of a carrier: `mask.to(x)`, `position.view_as(x)`."""
    return function(*(arg.like.detach() if isinstance(arg, Carrier) else arg for arg in args), **kwargs)


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
    """One mask for all timesteps, so that it commutes with the time mean. In evaluation torch returns its argument."""
    if not (args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True))):
        return carrier
    _, *rest = args
    mask = carrier.dropout_mask(lambda: function(torch.ones_like(carrier.like, requires_grad=False), *rest, **kwargs))
    out = type(carrier).elementwise(operator.mul, (carrier, mask))
    if not kwargs.get("inplace"):
        return out
    carrier.become(out, function.__name__)
    return carrier


def _flatten(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    start = args[1] if len(args) > 1 else kwargs.get("start_dim", 0)
    if start % carrier.ndim == 0:
        return _view(carrier, function, args, kwargs)
    return carrier.make_view(type(carrier).moved(function, args, kwargs, whole_samples=True))


def _reshape(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """The new shape is the one that a module sees; T stays out of it."""
    if args[0] is not carrier:
        return _like_a_batch(function, args, kwargs)
    like = function.__name__ in ("reshape_as", "view_as")
    shape = (args[1].shape,) if like else args[1:]
    target = torch.empty(carrier.shape, device="meta").reshape(*shape, **kwargs).shape
    whole_samples = bool(target) and target[0] == carrier.shape[0]
    if whole_samples and len(target) == 2:
        return carrier.make_view(type(carrier).moved(torch.flatten, (carrier, 1), {}, whole_samples=True))
    move = (lambda x: x.reshape(x.shape[0], *target[1:])) if whole_samples else (lambda x: x.reshape(target))
    return carrier.make_view(type(carrier).moved(move, (carrier,), {}, whole_samples=whole_samples))


def _over_dims(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    dims = args[1] if len(args) > 1 else kwargs.get("dim")
    dims = (dims,) if isinstance(dims, int) else dims
    if not dims:
        raise UnsupportedOperation(function.__name__, "name the dimensions")
    over_batch = any(dim % carrier.ndim == 0 for dim in dims)
    return (type(carrier).each_step if over_batch else type(carrier).per_step)(function, args, kwargs)


def _index(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """A part of each timestep, such as some of its channels; the index is the same at every step."""
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    if args[0] is not carrier or any(isinstance(part, Carrier) for part in index):
        raise UnsupportedOperation(function.__name__, "the index differs from step to step")
    index = carrier.all_drawn_once(index)
    out = type(carrier).moved(lambda x: x[index], (carrier,), {}, whole_samples=False)
    return carrier.make_view(out)


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
    return type(carrier).elementwise(function, carrier.all_drawn_once(args), **kwargs)


def _mul(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    both = all(isinstance(factor, Carrier) for factor in args)
    return (product if both else _elementwise)(carrier, function, args, kwargs)


def _div(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    return (quotient if isinstance(args[1], Carrier) else _elementwise)(carrier, function, args, kwargs)


def _addcmul(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    added, left, right = args
    return added + left * right * kwargs.get("value", 1.0)


def _where(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """One of two at each place; which one is the same at every step."""
    condition = args[0] if function is torch.where else args[1]
    if isinstance(condition, Carrier) or len(args) != 3:
        raise UnsupportedOperation(function.__name__, "its condition must be the same at every step")
    return _elementwise(carrier, function, args, kwargs)


def _timeless(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """A constant or a property, from the shape, type and device that the module sees."""
    return function(carrier.like.detach(), *args[1:], **kwargs)


# By the names of `operator`; torch's own functions of this kind end in "_".
_IN_PLACE_OPERATORS = ("iadd", "isub", "imul", "itruediv", "imatmul", "ipow")

Rule = Callable[[Carrier, Function, Arguments, Keywords], Any]

RULES: dict[str, Rule] = {
    "conv1d": _weighted,
    "conv2d": _weighted,
    "conv3d": _weighted,
    "conv_transpose1d": _weighted,
    "conv_transpose2d": _weighted,
    "conv_transpose3d": _weighted,
    "linear": _weighted,
    "interpolate": _per_step,
    "grid_sample": _sampled,
    "cumsum": _each_step,
    "batch_norm": _batch_norm,
    "avg_pool1d": _per_step,
    "avg_pool2d": _per_step,
    "adaptive_avg_pool1d": _per_step,
    "adaptive_avg_pool2d": _per_step,
    "avg_pool3d": _per_step,
    "adaptive_avg_pool3d": _per_step,
    "max_pool1d": _max_pool,
    "max_pool2d": _max_pool,
    "adaptive_max_pool1d": _max_pool,
    "adaptive_max_pool2d": _max_pool,
    "max_pool3d": _max_pool,
    "adaptive_max_pool3d": _max_pool,
    "amax": amax,
    "amin": amax,
    "max": largest,
    "min": largest,
    "topk": topk,
    "dropout": _dropout,
    "dropout1d": _dropout,
    "dropout2d": _dropout,
    "dropout3d": _dropout,
    "flatten": _flatten,
    "reshape": _reshape,
    "view": _reshape,
    "reshape_as": _reshape,
    "view_as": _reshape,
    "contiguous": _contiguous,
    "permute": _view,
    "transpose": _view,
    "t": _view,
    "swapaxes": _view,
    "swapdims": _view,
    "movedim": _view,
    "moveaxis": _view,
    "unsqueeze": _view,
    "squeeze": _view,
    "unflatten": _view,
    "expand": _view,
    "expand_as": _view,
    "repeat": _moved,
    "repeat_interleave": _moved,
    "tile": _moved,
    "narrow": _view,
    "select": _view,
    "index_select": _moved,
    "gather": _moved,
    "roll": _moved,
    "flip": _moved,
    "pad": _each_step,
    "pixel_shuffle": _moved,
    "pixel_unshuffle": _moved,
    "unfold": _window,
    "fold": _each_step,
    "detach": _view,
    "chunk": _pieces,
    "split": _pieces,
    "tensor_split": _pieces,
    "unbind": _pieces,
    "clone": _copied,
    "to": _converted,
    "type_as": _converted,
    "float": _converted,
    "double": _converted,
    "half": _converted,
    "bfloat16": _converted,
    "mean": _over_dims,
    "sum": _over_dims,
    "getitem": _index,
    "cat": _joined,
    "concat": _joined,
    "stack": _joined,
    "add": _elementwise,
    "sub": _elementwise,
    "mul": _mul,
    "matmul": product,
    "bmm": product,
    "einsum": einsum,
    "mm": product,
    "tensordot": product,
    "addmm": product,
    "baddbmm": product,
    "div": _div,
    "truediv": _div,
    "addcmul": _addcmul,
    "neg": _elementwise,
    "ones_like": _timeless,
    "zeros_like": _timeless,
    "full_like": _timeless,
    "empty_like": _timeless,
    "new_zeros": _timeless,
    "new_ones": _timeless,
    "new_full": _timeless,
    "new_empty": _timeless,
    "new_tensor": _timeless,
    "numel": _timeless,
    "is_floating_point": _timeless,
    "is_contiguous": _timeless,
    "group_norm": group_norm,
    "layer_norm": layer_norm,
    "instance_norm": instance_norm,
    "normalize": normalize,
    "rms_norm": rms_norm,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "scaled_dot_product_attention": scaled_dot_product_attention,
    "multi_head_attention_forward": multi_head_attention,
    **dict.fromkeys(POINTWISE, pointwise),
    **dict.fromkeys(REDUCTIONS, reduction),
    "prelu": prelu,
    "masked_fill": _elementwise,
    "where": _where,
}

# Those of other people's operations.
OWN_RULES: dict[str, Rule] = {}
KINDS: dict[str, Rule] = {
    "per_step": _per_step,
    "moved": _window,
    "linear": product,
    "elementwise": _elementwise,
    "at_mean": _max_pool,
}


def register_rule(name: str, kind: str) -> None:
    """Give an operation of your own a rule. Provisional: kinds may still get other names.

    `name` is the `__name__` of the function as torch's `__torch_function__` sees it. `kind` is one of

        "per_step"      linear in what it takes, sample by sample; T is folded into the batch, which stays first
        "moved"         linear, called for each timestep by `torch.vmap`; it may do with the batch what it likes
        "linear"        the same, with weights: linear in its one activation
        "elementwise"   sums and scalings that broadcast like torch's
        "at_mean"       as "per_step" but not linear: the rate methods take its gradient at the mean

    The function returns one tensor; what returns several is refused. Raises ValueError if there is no such kind, or if
    rbp has a rule for that name already.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}")
    if name in RULES:
        raise ValueError(f"{name!r} has a rule already, which cannot be replaced; give your function another name")
    rule = KINDS[kind]
    OWN_RULES[name] = lambda carrier, function, args, kwargs: rule(carrier, _of_one_tensor(function), args, kwargs)


def _of_one_tensor(function: Function) -> Function:
    """The function, which refuses any other result than a tensor."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Tensor:
        out = function(*args, **kwargs)
        if not isinstance(out, Tensor):
            kind = type(out).__name__
            raise UnsupportedOperation(function.__name__, f"register_rule is for one that returns a tensor, not {kind}")
        return out

    return call
