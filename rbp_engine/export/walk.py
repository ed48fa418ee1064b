"""Follow a network in evaluation mode: a carrier that notes each operation and where its inputs come from.

The operations of a module are the torch functions that it calls, by the rule table that all carriers use. So the walk
accepts every network that rbp trains, and an error about an operation without a node in NIR names its module.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from rbp_engine.export.operations import (
    AdaptivePool,
    AnySpike,
    Convolution,
    ExportError,
    Flattening,
    LinearMap,
    NetworkInput,
    Operation,
    Pair,
    Pooling,
    SpikingLayer,
    Sum,
    leading_to,
    no_node,
)
from rbp_engine.spiking.batch_norm import BatchNorm, scale_and_shift
from rbp_engine.spiking.linear import Linear, OpenCall
from rbp_engine.spiking.neuron import LIFNeurons
from rbp_engine.spiking.nonlinear import AtMean, Nonlinear, Product
from rbp_engine.spiking.rules.rule_table import TensorLike


@torch.no_grad()
def walk(model: nn.Module, shape: tuple[int, ...]) -> list[Operation]:
    """The operations of a network in evaluation mode, in the order in which they run; the last gives the logits.

    `shape` is that of one sample at one timestep, [C, H, W] or [N]. Operations that the logits do not depend on are
    left out, and those that can be part of the weights beside them are folded into them. A network on the device "meta"
    is followed, too, and nothing is computed. Raises ExportError for what has no node in NIR, and UnsupportedOperation
    for what rbp cannot run.
    """
    walked = Walked()
    device = next((parameter.device for parameter in model.parameters()), None)
    start = walked.add(NetworkInput(path="input", inputs=(), shape=shape), torch.zeros(1, *shape, device=device))
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            hooks.enter_context(module.register_forward_pre_hook(partial(walked.enter, name)))
            hooks.enter_context(module.register_forward_hook(walked.leave))
        logits = model(start)
    if not isinstance(logits, Recorded) or logits.ndim != 2:
        got = list(logits.shape) if isinstance(logits, Recorded) else type(logits).__name__
        raise ExportError(f"the network returned {got}; it must return the logits of its last layer, [B, C]")
    return leading_to(logits.source, walked.operations)


class Walked:
    """The operations so far, and the modules that run now, the innermost last."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.running = [""]

    def enter(self, name: str, *_: Any) -> None:
        self.running.append(name)

    def leave(self, *_: Any) -> None:
        self.running.pop()

    def add(self, operation: Operation, values: Tensor) -> "Recorded":
        self.operations.append(operation)
        return Recorded(values, operation, self)


class Recorded(TensorLike):
    """One sample at one timestep, [1, …], and the operation that it comes from; its values are meaningless."""

    timesteps = 1

    def __init__(self, values: Tensor, source: Operation, walked: Walked) -> None:
        self._values = values
        self.source = source
        self.walked = walked

    @property
    def like(self) -> Tensor:
        return self._values

    def then(self, kind: Callable[..., Operation], values: Tensor, *others: "Recorded", **settings: Any) -> "Recorded":
        """The result of an operation on this value and `others`."""
        inputs = tuple(recorded.source for recorded in (self, *others))
        operation = kind(path=self.walked.running[-1], inputs=inputs, shape=tuple(values.shape[1:]), **settings)
        return self.walked.add(operation, values)

    def refuse(self, why: str) -> NoReturn:
        """Say that the module that runs now cannot be written."""
        raise no_node(self.walked.running[-1], why)

    def fire(self, neurons: Any) -> Any:
        if not isinstance(neurons, LIFNeurons):
            kind = type(neurons.neuron).__name__
            self.refuse(f"{kind} is a neuron of its author's own, which has no node in NIR")
        number = sum(isinstance(operation, SpikingLayer) for operation in self.walked.operations)
        return self.then(SpikingLayer, torch.zeros_like(self._values), parameters=neurons, number=number)

    @classmethod
    def linear(cls, operation: Linear, inputs: Sequence[Any]) -> Any:
        return _elementwise(operation.call, inputs) if operation.over == "numbers" else _noted(operation.call, inputs)

    @classmethod
    def nonlinear(cls, operation: Nonlinear, inputs: Sequence[Any]) -> Any:
        x: Recorded = inputs[0]
        if not isinstance(operation, AtMean | Product):
            x.refuse(f"{type(operation).__name__} has no node in NIR")
        return _noted(operation.call, inputs)

    def batch_norm(self, norm: BatchNorm) -> Any:
        """Folded into the previous layer, scale·(W x + b) + shift, in float64."""
        if norm.training or norm.running_mean is None or norm.running_var is None:
            self.refuse("a batch norm without running statistics depends on the batch, so it cannot be written")
        inverse_deviation = (norm.running_var.double() + norm.eps).rsqrt()
        scale, shift = scale_and_shift(norm.running_mean, inverse_deviation, norm.weight, norm.bias)
        layer = self.source
        if not isinstance(layer, LinearMap):
            self.refuse(
                "a batch norm becomes part of the convolution or linear layer directly before it, and there is none"
            )
        weight = layer.weight * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
        bias = shift if layer.bias is None else scale * layer.bias + shift
        folded = replace(layer, weight=weight, bias=bias, folded=(*layer.folded, "batch norm"))
        return self.walked.add(folded, self.like)


Apply = Callable[[], Tensor]
Node = Callable[..., Recorded]


def _noted(call: OpenCall, inputs: Sequence[Recorded]) -> Recorded:
    x, *others = inputs
    if call.name not in _NODES or others:
        # The rule table works out indexing, joining and reshaping itself, by functions without a name.
        named = f"'{call.name}'" if call.name.isidentifier() else "indexing, joining or reshaping"
        x.refuse(f"{named} has no node in NIR")
    return _NODES[call.name](x, partial(call, x.like), *call.args[1:], **call.kwargs)


def _elementwise(call: OpenCall, inputs: Sequence[Recorded]) -> Recorded:
    x, *others = inputs
    if call.name != "add":
        x.refuse(f"'{call.name}' has no node in NIR")
    if not others:
        x.refuse("'add' with a constant has no node in NIR: use the bias of the layer before it")
    if call.kwargs or any(each.shape != x.shape for each in others):
        x.refuse("'add' of different shapes, or with more arguments, has no node in NIR")
    return x.then(Sum, x.like, *others)


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
        x.refuse(f"a kernel of {weight.shape[2]}×{weight.shape[3]}: NIR's files take square kernels only")
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
        x.refuse(f"a linear layer on {list(x.shape)}: NIR's take [B, N], flatten before it")
    pool = x.source.inputs[0] if isinstance(x.source, Flattening) else None
    folded: tuple[str, ...] = ()
    if isinstance(pool, AdaptivePool):
        # The pooling becomes part of the weights, on what it received: W·(rows ⊗ columns).
        weight = weight.double().unflatten(1, pool.shape)
        weight = torch.einsum("nchw,hi,wj->ncij", weight, pool.rows, pool.columns).flatten(1)
        x = x.walked.add(replace(x.source, inputs=pool.inputs, shape=(weight.shape[1],)), x.like)
        folded = ("pooling",)
    return x.then(LinearMap, apply(), weight=weight, bias=bias, folded=folded)


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
        x.refuse("NIR's average pooling has no ceil_mode, no divisor_override, and counts its padding")
    windows = {"kernel": _pair(kernel_size), "stride": _pair(stride or kernel_size), "padding": _pair(padding)}
    return x.then(Pooling, apply(), **windows)


def _adaptive_avg_pool2d(x: Recorded, apply: Apply, output_size: Any) -> Recorded:
    """Pooling whose windows have one size and one distance, if they do."""
    values = apply()
    if values.shape == x.shape:
        return x
    rows, columns = (_windows(*sides) for sides in zip(x.shape[2:], values.shape[2:], strict=True))
    if (down := _even(rows)) and (across := _even(columns)):
        kernel, stride = zip(down, across, strict=True)
        return x.then(Pooling, values, kernel=kernel, stride=stride, padding=(0, 0))
    return x.then(AdaptivePool, values, rows=rows, columns=columns)


def _windows(side: int, places: int) -> Tensor:
    """The weights [places, side] of the means over the windows of an adaptive pooling."""
    weights = torch.zeros(places, side, dtype=torch.float64)
    for place, row in enumerate(weights):
        start, end = place * side // places, math.ceil((place + 1) * side / places)
        row[start:end] = 1.0 / (end - start)
    return weights


def _even(windows: Tensor) -> Pair | None:
    """Size and distance of windows; None if these differ."""
    inside = windows > 0
    sizes, distances = set(inside.sum(1).tolist()), set(inside.int().argmax(1).diff().tolist()) or {1}
    even = len(sizes) == len(distances) == 1 and 0 not in distances
    return (sizes.pop(), distances.pop()) if even else None


def _flatten(x: Recorded, apply: Apply, start_dim: int = 0, end_dim: int = -1) -> Recorded:
    values = apply()
    if values.ndim != 2:
        x.refuse(f"flattening {list(x.shape)} to {list(values.shape)}: NIR's files take [B, N]")
    return x if x.ndim == 2 else x.then(Flattening, values)


def _mean_over_space(x: Recorded, apply: Apply, dim: Any = None, keepdim: bool = False) -> Recorded:
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    if x.ndim != 4 or sorted(d % 4 for d in dims) != [2, 3]:
        x.refuse(f"a mean over the dimensions {list(dims)} of {list(x.shape)} has no node in NIR")
    sides = _pair(tuple(x.shape[2:]))
    pooled = x.then(Pooling, x.like.mean((2, 3), True), kernel=sides, stride=sides, padding=(0, 0))
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
    """The maximum of spikes is 1 where their sum is at least 1."""
    if not isinstance(x.source, (SpikingLayer, AnySpike)):
        x.refuse(
            "NIR has no max pooling. Of spikes it could be written as a sum and a threshold, but its input is not the "
            "output of neurons: use average pooling or a stride, or put the pooling behind a neuron"
        )
    if ceil_mode or _pair(dilation) != (1, 1):
        x.refuse("NIR's sum pooling, which stands for max pooling, has no dilation and no ceil_mode")
    windows = {"kernel": _pair(kernel_size), "stride": _pair(stride or kernel_size), "padding": _pair(padding)}
    pooled = x.then(Pooling, apply(), **windows, summed=True)
    return pooled.then(AnySpike, pooled.like)


_NODES: dict[str, Node] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "avg_pool2d": _avg_pool2d,
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "max_pool2d": _max_pool2d,
    "flatten": _flatten,
    "mean": _mean_over_space,
    "contiguous": lambda x, apply, **_: x,
}


def _pair(value: int | Iterable[int]) -> Pair:
    sides = tuple(value) if isinstance(value, Iterable) else (value,)
    return int(sides[0]), int(sides[-1])
