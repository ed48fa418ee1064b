"""Follow a network in evaluation mode: a carrier that notes each operation and where its inputs come from.

What a module does is read from the torch functions that it calls, by the rule table that every carrier answers by, so
the walk takes each network that rbp trains, and what NIR has no node for is named with its module.
"""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from rbp_engine.export.errors import ExportError, no_node
from rbp_engine.export.operations import (
    AdaptivePool,
    AnySpike,
    AveragePool,
    ChannelMap,
    Convolution,
    Flattening,
    LinearMap,
    NetworkInput,
    Operation,
    Pair,
    Scaling,
    SpikingLayer,
    Sum,
    SumPool,
    leading_to,
)
from rbp_engine.spiking.autograd.at_the_rates import AtMean, Product
from rbp_engine.spiking.autograd.batch_norm import BatchNorm
from rbp_engine.spiking.autograd.nonlinear import Nonlinear
from rbp_engine.spiking.kernels.own_loop import OwnNeurons
from rbp_engine.spiking.linear import Call, Linear
from rbp_engine.spiking.tensor_like import TensorLike


@torch.no_grad()
def walk(model: nn.Module, shape: tuple[int, ...]) -> list[Operation]:
    """The operations of a network in evaluation mode, in the order in which they run; the last gives the logits.

    `shape` is that of one sample at one timestep, [C, H, W] or [N]. What the logits do not depend on is left out. A
    network on the device "meta" is followed, too, and nothing is computed.
    Raises ExportError for what has no node in NIR, and UnsupportedOperation for what rbp cannot run.
    """
    so_far = OperationsSoFar()
    device = next((parameter.device for parameter in model.parameters()), None)
    start = NetworkInput(path="input", inputs=(), shape=shape)
    so_far.operations.append(start)
    hooks = [hook for name, module in model.named_modules() for hook in so_far.follow(name, module)]
    try:
        logits = model(Recorded(torch.zeros(1, *shape, device=device), start, so_far))
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(logits, Recorded) or logits.ndim != 2:
        got = list(logits.shape) if isinstance(logits, Recorded) else type(logits).__name__
        raise ExportError(f"the network returned {got}; it must return the logits of its last layer, [B, C]")
    return leading_to(logits.source, so_far.operations)


class OperationsSoFar:
    """The operations so far, and the module that runs now."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._running: list[str] = []

    @property
    def path(self) -> str:
        return self._running[-1] if self._running else ""

    def follow(self, name: str, module: nn.Module) -> list[Any]:
        """Hooks that note when the module runs."""

        def enter(module: nn.Module, inputs: Any) -> None:
            self._running.append(name)

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            self._running.pop()

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def refuse(self, why: str) -> NoReturn:
        raise no_node(self.path, why)


Apply = Callable[[], Tensor]
Note = Callable[..., "Recorded"]


class Recorded(TensorLike):
    """One sample at one timestep, [1, …], and the operation that it comes from; its values mean nothing."""

    timesteps = 1

    def __init__(self, values: Tensor, source: Operation, so_far: OperationsSoFar) -> None:
        self._values = values
        self.source = source
        self.so_far = so_far

    @property
    def like(self) -> Tensor:
        return self._values

    def then(self, kind: Callable[..., Operation], values: Tensor, *others: "Recorded", **settings: Any) -> "Recorded":
        """What an operation on this recorded and `others` gives."""
        inputs = tuple(recorded.source for recorded in (self, *others))
        operation = kind(path=self.so_far.path, inputs=inputs, shape=tuple(values.shape[1:]), **settings)
        self.so_far.operations.append(operation)
        return Recorded(values, operation, self.so_far)

    def fire(self, neurons: Any) -> Any:
        if isinstance(neurons, OwnNeurons):
            kind = type(neurons.neuron).__name__
            self.so_far.refuse(f"{kind} is a neuron of its author's own, which has no node in NIR")
        number = sum(isinstance(operation, SpikingLayer) for operation in self.so_far.operations)
        return self.then(SpikingLayer, torch.zeros_like(self._values), parameters=neurons, number=number)

    @classmethod
    def linear(cls, operation: Linear, inputs: Sequence[Any]) -> Any:
        if operation.over == "numbers":
            return _elementwise(operation.call, inputs)
        return _noted(_LAYERS if operation.weights == "layer" else _MOVES_AND_MEANS, operation.call, inputs[0])

    @classmethod
    def nonlinear(cls, operation: Nonlinear, inputs: Sequence[Any]) -> Any:
        x: Recorded = inputs[0]
        if isinstance(operation, Product):
            x.so_far.refuse("the product of two activations has no node in NIR")
        if not isinstance(operation, AtMean):
            x.so_far.refuse(f"{type(operation).__name__} has no node in NIR")
        return _noted(_MAX_POOL, operation.call, x)

    def batch_norm(self, norm: BatchNorm) -> Any:
        if norm.running_mean is None or norm.running_var is None or norm.training:
            self.so_far.refuse("a batch norm without running statistics depends on the batch, so it cannot be written")
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight
        shift = -norm.running_mean * scale if norm.bias is None else norm.bias - norm.running_mean * scale
        return self.then(ChannelMap, self.like, scale=scale, shift=shift)


def _noted(table: dict[str, Note], call: Call, x: Recorded) -> Recorded:
    note = table.get(call.name)
    if note is None:
        # The rule table works out indexing, joining and reshaping itself, by functions without a name.
        name = f"'{call.name}'" if call.name.isidentifier() else "indexing, joining or reshaping"
        x.so_far.refuse(f"{name} has no node in NIR")
    return note(x, partial(call, x.like), *call.args[1:], **call.kwargs)


# The functions below have the arguments of torch's own after `apply`, which computes a result of the right shape.


def _conv2d(
    x: Recorded,
    apply: Apply,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Recorded:
    if weight.shape[2] != weight.shape[3]:
        x.so_far.refuse(f"a kernel of {weight.shape[2]}×{weight.shape[3]}: NIR's files take square kernels only")
    return x.then(
        Convolution,
        apply(),
        weight=weight,
        bias=bias,
        stride=_pair(stride),
        padding=padding if isinstance(padding, str) else _pair(padding),
        dilation=_pair(dilation),
        groups=groups,
    )


def _linear(x: Recorded, apply: Apply, weight: Tensor, bias: Tensor | None = None) -> Recorded:
    if x.ndim != 2:
        x.so_far.refuse(f"a linear layer on {list(x.shape)}: NIR's take [B, N], flatten before it")
    return x.then(LinearMap, apply(), weight=weight, bias=bias)


def _avg_pool2d(
    x: Recorded,
    apply: Apply,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Recorded:
    if ceil_mode or divisor_override is not None or (_pair(padding) != (0, 0) and not count_include_pad):
        x.so_far.refuse("NIR's average pooling has no ceil_mode, no divisor_override, and counts its padding")
    kernel = _pair(kernel_size)
    return x.then(AveragePool, apply(), kernel=kernel, stride=_pair(stride or kernel), padding=_pair(padding))


def _adaptive_avg_pool2d(x: Recorded, apply: Apply, output_size: Any) -> Recorded:
    """Pooling whose windows have one size and one distance, if they do."""
    values = apply()
    if values.shape == x.shape:
        return x
    (height, width), (rows, columns) = (
        x.shape[2:],
        (_windows(*sides) for sides in zip(x.shape[2:], values.shape[2:], strict=True)),
    )
    if (down := _even(rows)) and (across := _even(columns)):
        (kernel, stride) = zip(down, across, strict=True)
        return x.then(AveragePool, values, kernel=kernel, stride=stride, padding=(0, 0))
    return x.then(AdaptivePool, values, rows=_means(rows, height), columns=_means(columns, width))


def _windows(side: int, places: int) -> list[Pair]:
    """Where each window of an adaptive pooling begins and ends."""
    return [(place * side // places, math.ceil((place + 1) * side / places)) for place in range(places)]


def _even(windows: Sequence[Pair]) -> Pair | None:
    """Size and distance of windows; None if these differ."""
    sizes = {end - start for start, end in windows}
    distances = {after - before for (before, _), (after, _) in pairwise(windows)} or {1}
    even = len(sizes) == len(distances) == 1 and 0 not in distances
    return (sizes.pop(), distances.pop()) if even else None


def _means(windows: Sequence[Pair], side: int) -> Tensor:
    """The weights [windows, side] of the means over windows."""
    weights = torch.zeros(len(windows), side, dtype=torch.float64)
    for row, (start, end) in zip(weights, windows, strict=True):
        row[start:end] = 1.0 / (end - start)
    return weights


def _flatten(x: Recorded, apply: Apply, start_dim: int = 0, end_dim: int = -1) -> Recorded:
    values = apply()
    if values.ndim != 2:
        x.so_far.refuse(f"flattening {list(x.shape)} to {list(values.shape)}: NIR's files take [B, N]")
    return x if x.ndim == 2 else x.then(Flattening, values)


def _mean_over_space(x: Recorded, apply: Apply, dim: Any = None, keepdim: bool = False) -> Recorded:
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    if x.ndim != 4 or sorted(d % 4 for d in dims) != [2, 3]:
        x.so_far.refuse(f"a mean over the dimensions {list(dims)} of {list(x.shape)} has no node in NIR")
    sides = _pair(tuple(x.shape[2:]))
    pooled = x.then(AveragePool, x.like.mean((2, 3), True), kernel=sides, stride=sides, padding=(0, 0))
    return pooled if keepdim else pooled.then(Flattening, apply())


def _max_pool2d(
    x: Recorded,
    apply: Apply,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Recorded:
    """Of spikes the maximum is 1 where their sum is at least 1."""
    if not isinstance(x.source, (SpikingLayer, AnySpike)):
        x.so_far.refuse(
            "NIR has no max pooling. Of spikes it could be written as a sum and a threshold, but its input is not the "
            "output of neurons: use average pooling or a stride, or put the pooling behind a neuron"
        )
    if ceil_mode or _pair(dilation) != (1, 1):
        x.so_far.refuse("NIR's sum pooling, which stands for max pooling, has no dilation and no ceil_mode")
    kernel = _pair(kernel_size)
    pooled = x.then(SumPool, apply(), kernel=kernel, stride=_pair(stride or kernel), padding=_pair(padding))
    return pooled.then(AnySpike, pooled.like)


_LAYERS: dict[str, Note] = {"conv2d": _conv2d, "linear": _linear}
_MOVES_AND_MEANS: dict[str, Note] = {
    "avg_pool2d": _avg_pool2d,
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "flatten": _flatten,
    "mean": _mean_over_space,
    "contiguous": lambda x, apply, **_: x,
}
_MAX_POOL: dict[str, Note] = {"max_pool2d": _max_pool2d}


def _elementwise(call: Call, operands: Sequence[Recorded]) -> Any:
    recorded, values = operands[0], call(*(x.like for x in operands))
    if call.kwargs or any(x.shape != values.shape for x in operands):
        recorded.so_far.refuse(f"'{call.name}' of different shapes, or with more arguments, has no node in NIR")
    if call.name == "neg":
        return _scaled(recorded, -1.0)
    if call.name not in ("add", "sub", "mul", "div", "truediv"):
        recorded.so_far.refuse(f"'{call.name}' has no node in NIR")
    left, right = call.filled(*operands)
    if isinstance(left, Recorded) and isinstance(right, Recorded):
        return left.then(Sum, values, right if call.name == "add" else _scaled(right, -1.0))
    constant = right if recorded is left else left
    if call.name in ("add", "sub"):
        if not torch.any(torch.as_tensor(constant) != 0) and recorded is left:
            return recorded
        recorded.so_far.refuse(f"'{call.name}' with a constant has no node in NIR: use the bias of the layer before it")
    factor = torch.as_tensor(constant, dtype=torch.float64)
    return _scaled(recorded, factor if call.name == "mul" else factor.reciprocal())


def _scaled(x: Recorded, factor: float | Tensor) -> Recorded:
    """`x` times a factor; itself where that is 1, as in dropout in evaluation mode."""
    factors = torch.as_tensor(factor, dtype=torch.float64).broadcast_to(x.shape)[0]
    return x if torch.all(factors == 1.0) else x.then(Scaling, x.like, factors=factors)


def _pair(value: int | Iterable[int]) -> Pair:
    if isinstance(value, Iterable):
        sides = tuple(map(operator.index, value))
        return (sides * 2)[:2] if len(sides) == 1 else (sides[0], sides[1])
    return operator.index(value), operator.index(value)
