"""Weight gradients of layers whose output is known before the graph is built (paper, section 4, equations 8–10).

Every linear operation commutes with the time mean: c = W·r_prev is the mean of the T outputs W·s_t, which the forward
has computed already. The functions here run no forward. They return a gradient proxy (`autograd/grad_proxy.py`) of c,
whose backward is

    ∂L/∂r_prev = Wᵀ·∂L/∂c        ∂L/∂W = ∂L/∂c·r_prevᵀ
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.autograd.grad_proxy import new_grad_proxy
from rbp_engine.spiking.autograd.late_gradient import with_late_gradient
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.spiking.kernels.steps import Steps, WeightInput
from rbp_engine.spiking.linear import OpenCall

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


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
            return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
                grad, weight_input, weight, bias_sizes, *geometry, needed
            )

        if ctx.late is None:
            grad_input, grad_weight, grad_bias = gradients(needs_input, needs_weight, needs_bias)
        else:
            grad_input, _, grad_bias = gradients(needs_input, False, needs_bias)
            grad_weight = weight.new_zeros(()).expand(weight.shape)
            ctx.late.append(lambda: gradients(False, True, False)[1])
        return grad_input, None, grad_weight, grad_bias, None, None, None


def weighted_gradient(layer: OpenCall, received: Steps, out: Tensor) -> Tensor:
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
    proxy: Tensor = ConvolutionGradient.apply(
        received.grad_proxy, received.weight_input(), wrapped, bias, out, geometry, late
    )
    return proxy


def _linear(received: Steps, out: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    proxy: Tensor = LinearGradient.apply(received.grad_proxy, received.weight_input(), weight, bias, out)
    return proxy


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
