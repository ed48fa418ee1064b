"""Operations that are linear in their carriers, and the gradients of weights (paper, section 4, equations 8–10).

A linear operation commutes with the time mean: mean_t f(x_t) = f(mean_t x_t). Convolutions, sums, means, moves and
products with weights are linear. `at_all_steps` computes any operation at all timesteps at once.

The output of a convolution or linear layer is known before the graph is built: c = W·r_prev is the mean of the T
outputs W·s_t. `layer_gradient` runs no forward. It returns a gradient proxy (`spiking/steps.py`) of c, whose
backward is

    ∂L/∂r_prev = Wᵀ·∂L/∂c        ∂L/∂W = ∂L/∂c·r_prevᵀ

`LateGradient` saves memory and is not part of the method: the deep layers come first in a backward pass, while all that
the others saved is still in memory. The gradients of their weights, which are larger than what the layers compute,
would set the peak, so they are formed when the pass is over (without it 1.09 of the memory of rate_s, ResNet-18).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.steps import Steps, TimeConstant, WeightInput, new_grad_proxy

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


# How T timesteps are computed at once:
#   batch    T is folded into the batch, [T·B, …], which the function must keep first
#   step     the function sees one timestep [B, …], and may do with the batch dimension what it likes
#   numbers  the function broadcasts, so that [T, B, …] and [B, …] go together as they stand
Over = Literal["batch", "step", "numbers"]
Weights = Literal["none", "layer", "product"]


@dataclass(frozen=True)
class OpenCall:
    """A function of [B, …] values, at some `places` of its positional arguments; these have None there.

    So the graph can keep it without keeping a carrier alive.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    places: tuple[int, ...]

    @staticmethod
    def of(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], *kinds: type) -> OpenCall:
        """A call with a place for each argument of these types, those of the first type first."""
        places = tuple(place for kind in kinds for place, arg in enumerate(args) if isinstance(arg, kind))
        left_open = tuple(None if place in places else arg for place, arg in enumerate(args))
        return OpenCall(function, left_open, kwargs, places)

    @property
    def name(self) -> str:
        return str(self.function.__name__)

    def __call__(self, *values: Any) -> Any:
        args = list(self.args)
        for place, value in zip(self.places, values, strict=True):
            args[place] = value
        return self.function(*args, **self.kwargs)


@dataclass(frozen=True)
class Linear:
    """An operation that is jointly linear in its carriers.

    `over` says how all timesteps are computed at once. An operation that `moves` only moves entries, so spikes stay
    bytes. `weights` is "layer" for torch's convolutions and linear layers, whose weights follow the one carrier, and
    "product" for tensors multiplied with one carrier.
    """

    call: OpenCall
    over: Over = "step"
    moves: bool = False
    weights: Weights = "none"

    def __call__(self, *values: Tensor) -> Tensor:
        return self.call(*values)

    def is_plain_sum(self, inputs: Sequence[Any]) -> bool:
        """Whether it adds two carriers of one shape and type."""
        if self.call.name != "add" or self.call.kwargs or len(inputs) != 2:
            return False
        left, right = inputs
        return bool(left.shape == right.shape and left.dtype == right.dtype)

    @property
    def trains_weights(self) -> bool:
        """Whether a tensor beside the carriers is trained."""
        return any(isinstance(arg, Tensor) and arg.requires_grad for arg in self.call.args)

    def with_fixed_weights(self) -> Linear:
        """The same, without a gradient to the weights."""
        args = tuple(arg.detach() if isinstance(arg, Tensor) else arg for arg in self.call.args)
        return replace(self, call=replace(self.call, args=args))


def at_all_steps(function: Callable[..., Tensor], over: Over, inputs: Sequence[Steps], timesteps: int) -> Tensor:
    """A function at each timestep, [T, B, …], of inputs of which at least one changes over time."""
    if over == "batch":
        return unfolded(function(*folded(inputs, timesteps)), timesteps)
    values = [x.values() for x in inputs]
    if over == "numbers":
        return function(*values)
    over_time = tuple(None if isinstance(x, TimeConstant) else 0 for x in inputs)
    return torch.vmap(function, over_time)(*values)


def folded(inputs: Sequence[Steps], timesteps: int) -> list[Tensor]:
    """Their values as batches [T·B, …]."""
    both = ((x.values(), isinstance(x, TimeConstant)) for x in inputs)
    steps = (values.expand(timesteps, *values.shape) if is_static else values for values, is_static in both)
    return [values.flatten(0, 1) for values in steps]


def unfolded(batch: Tensor, timesteps: int) -> Tensor:
    """[T·B, …] as [T, B, …]."""
    return batch.unflatten(0, (timesteps, -1))


class LinearGradient(torch.autograd.Function):
    """The gradient of a linear layer c = W·x + b whose output `out` [B, …, out] is known.

    ∂L/∂x goes to `grad_proxy` [B, …, in]; ∂L/∂W is formed with `weight_input`.
    """

    @staticmethod
    def forward(
        ctx: Any, grad_proxy: Tensor | None, weight_input: WeightInput, weight: Tensor, bias: Tensor | None, out: Tensor
    ) -> Tensor:
        ctx.save_for_backward(weight_input.stored, weight)
        ctx.counted = weight_input.counted
        return new_grad_proxy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        stored, weight = ctx.saved_tensors
        weight_input = WeightInput.load(stored, ctx.counted, grad.dtype)
        needs_input, _, needs_weight, needs_bias, _ = ctx.needs_input_grad
        grad_rows, input_rows = grad.reshape(-1, grad.shape[-1]), weight_input.reshape(-1, weight_input.shape[-1])
        return (
            grad @ weight if needs_input else None,
            None,
            grad_rows.T @ input_rows if needs_weight else None,
            grad_rows.sum(0) if needs_bias else None,
            None,
        )


class Geometry(NamedTuple):
    """What a convolution does besides multiplying, in the order of `aten::convolution_backward`."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]
    groups: int


class ConvolutionGradient(torch.autograd.Function):
    """The gradient of a convolution c = W∗x + b whose output `out` [B, C_out, …] is known.

    ∂L/∂x goes to `grad_proxy` [B, C, …]; ∂L/∂W is formed with `weight_input`.

    With `late` the weight is a `LateGradient`, and the function that forms its gradient is appended there.
    """

    @staticmethod
    def forward(
        ctx: Any,
        grad_proxy: Tensor | None,
        weight_input: WeightInput,
        weight: Tensor,
        bias: Tensor | None,
        out: Tensor,
        geometry: Geometry,
        late: list[Callable[[], Tensor]] | None,
    ) -> Tensor:
        ctx.save_for_backward(weight_input.stored, weight)
        ctx.counted, ctx.geometry, ctx.late = weight_input.counted, geometry, late
        ctx.bias_sizes = None if bias is None else list(bias.shape)
        return new_grad_proxy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        stored, weight = ctx.saved_tensors
        # The function below is kept by the graph: were it to keep the graph, neither would ever be freed.
        weight, counted, bias_sizes, geometry = weight.detach(), ctx.counted, ctx.bias_sizes, ctx.geometry
        needs_input, _, needs_weight, needs_bias = ctx.needs_input_grad[:4]

        def gradients(*needed: bool) -> tuple[Tensor, Tensor, Tensor]:
            """Of the input, the weight and the bias."""
            weight_input = WeightInput.load(stored, counted, grad.dtype)
            return torch.ops.aten.convolution_backward(grad, weight_input, weight, bias_sizes, *geometry, needed)

        if ctx.late is None:
            grad_input, grad_weight, grad_bias = gradients(needs_input, needs_weight, needs_bias)
        else:
            grad_input, _, grad_bias = gradients(needs_input, False, needs_bias)
            grad_weight = weight.new_zeros(()).expand(weight.shape)
            ctx.late.append(lambda: gradients(False, True, False)[1])
        return grad_input, None, grad_weight, grad_bias, None, None, None


def layer_gradient(layer: OpenCall, received: Steps, out: Tensor) -> Tensor:
    """The gradient proxy of the output of a convolution or linear layer whose output is known.

    The gradient flows on to the proxy of what it `received`; the weight's is formed with its weight input: the firing
    rate for the rate methods, the trace of the spikes for OTTT. `out` has the shape and the type of the output.
    """
    if layer.name == "linear":
        return _linear(received, out, *layer.args[1:], **layer.kwargs)
    if layer.name.startswith("conv_transpose"):
        weight, bias, geometry = _transposed(*layer.args[1:], **layer.kwargs)
    else:
        weight, bias, geometry = _convolution(layer.name, *layer.args[1:], **layer.kwargs)
    wrapped, late = with_late_gradient(weight, out)
    return ConvolutionGradient.apply(received.grad_proxy, received.weight_input(), wrapped, bias, out, geometry, late)


def _linear(received: Steps, out: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return LinearGradient.apply(received.grad_proxy, received.weight_input(), weight, bias, out)


def _convolution(
    operation: str,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor | None, Geometry]:
    dims = weight.ndim - 2
    stride, dilation = per_dim(stride, dims), per_dim(dilation, dims)
    if padding == "valid":
        padding = 0
    if padding == "same":
        extent = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
        if any(length % 2 for length in extent):
            raise UnsupportedOperation(operation, "padding='same' with an even kernel; give the padding in numbers")
        padding = [length // 2 for length in extent]
    return weight, bias, Geometry(stride, per_dim(padding, dims), dilation, False, [0] * dims, groups)


def _transposed(
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> tuple[Tensor, Tensor | None, Geometry]:
    stride, padding, output_padding, dilation = (
        per_dim(value, weight.ndim - 2) for value in (stride, padding, output_padding, dilation)
    )
    return weight, bias, Geometry(stride, padding, dilation, True, output_padding, groups)


def per_dim(value: int | Sequence[int], dims: int) -> list[int]:
    """One number for each dimension, from one or several, as torch's functions take sizes."""
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values


class LateGradient(torch.autograd.Function):
    """A weight whose gradient is computed at the very end of the backward pass.

    The layer's backward returns a tensor without values for it and appends to `late` the function that forms the true
    gradient.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, late: list[Callable[[], Tensor]]) -> Tensor:
        ctx.late = late
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        return ctx.late.pop()(), None


def with_late_gradient(weight: Tensor, out: Tensor) -> tuple[Tensor, list[Callable[[], Tensor]] | None]:
    """The weight as its layer uses it, and the list for the function that forms its gradient; None to form it now.

    It pays off if the weight is larger than `out`, the output of its layer, in a single process on a CPU: several
    processes exchange gradients while the pass goes on, and on a GPU torch does not copy gradients.
    """
    alone = not (distributed.is_available() and distributed.is_initialized())
    is_large = weight.device.type == "cpu" and weight.numel() > out.numel()
    if not (alone and is_large and torch.is_grad_enabled() and weight.requires_grad):
        return weight, None
    late: list[Callable[[], Tensor]] = []
    wrapped: Tensor = LateGradient.apply(weight, late)
    # Among the nodes that are ready, autograd runs the one with the highest sequence number first.
    wrapped.grad_fn._set_sequence_nr(0)  # type: ignore[union-attr]
    return wrapped, late
