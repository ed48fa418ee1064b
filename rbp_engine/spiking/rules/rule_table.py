"""The rule table: what each torch operation does to a carrier.

There are four kinds of rule, and each carrier says how they act on it (`spiking/carrier.py`):

    linear      commutes with the time mean: mean_t f(x_t) = f(mean_t x_t)        `spiking/linear.py`
    nonlinear   does not; each says what its gradient at the means is              `spiking/nonlinear.py`
    batch norm  in training with statistics over timesteps           `spiking/batch_norm.py`
    fire        a layer of neurons, which is a module and no function of torch     `spiking/neuron.py`

An operation that is not in the table is refused with the path of the module that used it. An in-place operation (`x +=
y`, `x.add_(y)`) applies its plain form from the table, and the carrier takes over the result.

`TensorLike` is how a carrier looks to a module: torch's functions, operators, and the methods of a tensor.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.spiking.batch_norm import BatchNorm
from rbp_engine.spiking.carrier import Carrier, all_carriers, refuse_checkpointing
from rbp_engine.spiking.errors import UnsupportedAttribute, UnsupportedOperation
from rbp_engine.spiking.rules import linear_rules, nonlinear_rules
from rbp_engine.spiking.rules.attention import multi_head_attention, scaled_dot_product_attention
from rbp_engine.spiking.rules.linear_rules import Arguments, Function, Keywords, Rule
from rbp_engine.spiking.synchronised_batch_norm import SynchronisedBatchNorm

# torch's names for the arguments that may be carriers.
_INPUTS = ("input", "tensors", "other")
# By the names of `operator`; torch's own functions of this kind end in "_".
_IN_PLACE_OPERATORS = ("iadd", "isub", "imul", "itruediv", "imatmul", "ipow")


def apply(carriers: Sequence[Carrier], function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """Apply a torch function; `carriers` are those among its arguments, in order."""
    name = function.__name__.removesuffix(".default")  # which operations made by torch.library have
    rule = RULES.get(name, OWN_RULES.get(name))
    if rule is None:
        return _in_place(carriers, function, args, kwargs)
    if "axis" in kwargs and name in RULES:  # NumPy's name, which torch accepts
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
    return target.become(result, name)


def _layer(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    """A convolution or a linear layer; a product where an activation stands for its weight, such as F.linear(q, k)."""
    if args[0] is carrier and not any(isinstance(value, Carrier) for value in args[1:]):
        return linear_rules.layer(carrier, function, args, kwargs)
    return nonlinear_rules.product(carrier, function, args, kwargs)


def _batch_norm(carrier: Carrier, function: Function, args: Arguments, kwargs: Keywords) -> Any:
    x, *settings = args
    kind = BatchNorm if x.processes is None else functools.partial(SynchronisedBatchNorm, processes=x.processes)
    return carrier.batch_norm(kind(*settings, **kwargs))


RULES: dict[str, Rule] = {
    **linear_rules.RULES,
    **nonlinear_rules.RULES,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "linear"), _layer),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _layer),
    "batch_norm": _batch_norm,
    "scaled_dot_product_attention": lambda _, function, args, kwargs: scaled_dot_product_attention(*args, **kwargs),
    "multi_head_attention_forward": multi_head_attention,
}

# The rules of users' own operations.
OWN_RULES: dict[str, Rule] = {}
KINDS: dict[str, Rule] = {
    "batch": linear_rules.per_sample,
    "step": linear_rules.window,
    "numbers": linear_rules.elementwise,
    "product": nonlinear_rules.product,
    "at_mean": nonlinear_rules.at_mean,
}


def register_rule(name: str, kind: str) -> None:
    """Give an operation of your own a rule. Provisional: kinds may still get other names.

    `name` is the `__name__` of the function as torch's `__torch_function__` sees it. `kind` is one of

        "batch"      linear in its input, sample by sample; T is folded into the batch, which stays first
        "step"       linear, called for each timestep by `torch.vmap`; it may do with the batch what it likes
        "numbers"    sums and scalings that broadcast like torch's
        "product"    as "step", with weights: linear in its one activation
        "at_mean"    as "batch" but not linear: the rate methods take its gradient at the mean

    The function returns one tensor; one that returns several, as `torch.cummax`, is refused at its first use. Raises
    ValueError if there is no such kind, or if rbp already has a rule for that name.
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


# Not properties, because a debugger would read them and so compute what is deferred.
_TURNED: dict[str, Callable[[Any], Any]] = {
    "T": lambda x: x.permute(*reversed(range(x.ndim))),
    "mT": lambda x: x.transpose(-2, -1),
}
# Attributes of a tensor that are the same for all timesteps.
_OF_THE_BATCH = (
    *("device", "layout", "is_cpu", "is_cuda", "is_meta", "is_mps", "is_xpu"),
    *("is_nested", "is_quantized", "is_sparse"),  # torch's attention and transformer layers ask for the first
)


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
        if name.startswith("__") or not hasattr(Tensor, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        if name in _TURNED:
            return _TURNED[name](self)
        if name in _OF_THE_BATCH:
            return getattr(self.like, name)
        if not callable(getattr(Tensor, name)):
            raise UnsupportedAttribute(name)
        return lambda *args, **kwargs: _apply(getattr(Tensor, name), self, *args, **kwargs)

    def dim(self) -> int:
        return self.ndim

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(_apply(Tensor.unbind, self))

    def __bool__(self) -> bool:
        raise UnsupportedOperation("bool", "its values differ from step to step, and a network must not branch on them")

    def __int__(self) -> int:
        raise UnsupportedOperation("int", "its values differ from step to step")

    def __float__(self) -> float:
        raise UnsupportedOperation("float", "its values differ from step to step")

    __index__ = __int__

    def __eq__(self, other: object) -> Any:
        return _apply(operator.eq, self, other) if isinstance(other, _COMPARABLE) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return _apply(operator.ne, self, other) if isinstance(other, _COMPARABLE) else NotImplemented

    __hash__ = object.__hash__


for _name in ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
    _function = getattr(operator, f"__{_name}__")
    setattr(TensorLike, f"__{_name}__", _operator(_function))
    setattr(TensorLike, f"__r{_name}__", _reflected(_function))
    setattr(TensorLike, f"__i{_name}__", _operator(getattr(operator, f"__i{_name}__")))
for _name in ("getitem", "setitem", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert"):
    setattr(TensorLike, f"__{_name}__", _operator(getattr(operator, f"__{_name}__")))

_COMPARABLE = (TensorLike, Tensor, int, float)


def _apply(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return apply(list(all_carriers([*args, *kwargs.values()])), function, args, kwargs)


try:
    from einops._backends import TorchBackend
except ImportError:  # not installed, or a version that has another structure
    pass
else:

    class CarrierBackend(TorchBackend):
        """Lets `einops.rearrange`, `reduce`, `repeat` and `einsum` take carriers: torch's own backend for them.

        einops asks every subclass of its backends whether a value is one of its own. All functions of this one are
        methods of the tensor or functions of torch.
        """

        framework_name = "rbp_engine.spiking"  # the module that must have been imported

        def __init__(self) -> None:
            # Torch's own loads the compiler, which takes seconds.
            self.torch = torch

        def is_appropriate_type(self, tensor: Any) -> bool:
            return isinstance(tensor, Carrier)
