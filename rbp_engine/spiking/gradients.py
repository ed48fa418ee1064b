"""The gradients of the rate pass whose values are already known from the sequence (paper, section 4, equations 8–10).

Every linear operation commutes with the time mean, so the value of r after a layer is the mean of what the layer
made of the sequence, and nothing is computed a second time. These functions take that value and supply the gradient.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


class WithValue(torch.autograd.Function):
    """The value of one tensor with the gradient of another, both [B, …]."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad, None


class NeuronRate(torch.autograd.Function):
    """Firing rate r of a neuron layer: ∂L/∂c = ∂L/∂r ⊙ g with the eligibility g. All [B, …]."""

    @staticmethod
    def forward(ctx: Any, mean_current: Tensor, rate: Tensor, eligibility: Tensor) -> Tensor:
        ctx.save_for_backward(eligibility)
        return rate.view_as(rate)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        (eligibility,) = ctx.saved_tensors
        return grad * eligibility, None, None


class LinearRate(torch.autograd.Function):
    """c = W·r + b for a linear layer, r [B, …, in], c [B, …, out]."""

    @staticmethod
    def forward(ctx: Any, rate: Tensor, weight: Tensor, bias: Tensor | None, mean_output: Tensor) -> Tensor:
        ctx.save_for_backward(rate, weight)
        return mean_output.view_as(mean_output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        rate, weight = ctx.saved_tensors
        needs_rate, needs_weight, needs_bias, _ = ctx.needs_input_grad
        grad_rows, rate_rows = grad.reshape(-1, grad.shape[-1]), rate.reshape(-1, rate.shape[-1])
        return (
            grad @ weight if needs_rate else None,
            grad_rows.T @ rate_rows if needs_weight else None,
            grad_rows.sum(0) if needs_bias else None,
            None,
        )


class ConvolutionRate(torch.autograd.Function):
    """c = W∗r + b for a convolution over space, r [B, C, …]; `geometry` is (stride, padding, dilation)."""

    @staticmethod
    def forward(
        ctx: Any,
        rate: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        mean_output: Tensor,
        geometry: tuple[Sequence[int], Sequence[int], Sequence[int]],
        groups: int,
    ) -> Tensor:
        ctx.save_for_backward(rate, weight)
        ctx.geometry, ctx.groups = geometry, groups
        ctx.bias_sizes = None if bias is None else list(bias.shape)
        return mean_output.view_as(mean_output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        rate, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.geometry
        grads = torch.ops.aten.convolution_backward(
            grad, rate, weight, ctx.bias_sizes, stride, padding, dilation,
            False, [0] * len(stride), ctx.groups, list(ctx.needs_input_grad[:3]),
        )  # fmt: skip
        return *grads, None, None, None


class BatchNormRate(torch.autograd.Function):
    """γ(r − μ)/√(σ² + ε) + β, r [B, C, …], with the sequence's statistics; the backward is batch norm's own at r."""

    @staticmethod
    def forward(
        ctx: Any, rate: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, inverse_deviation: Tensor
    ) -> Tensor:
        ctx.save_for_backward(rate, weight, mean, inverse_deviation)
        per_channel = (1, -1) + (1,) * (rate.ndim - 2)
        scale = inverse_deviation if weight is None else inverse_deviation * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        return torch.addcmul(shift.view(per_channel), rate, scale.view(per_channel))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        rate, weight, mean, inverse_deviation = ctx.saved_tensors
        needs_rate, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        # ε is already inside 1/√(σ² + ε), so the one passed here is not used.
        grads = torch.ops.aten.native_batch_norm_backward(
            grad, rate, weight, None, None, mean, inverse_deviation, True, 0.0, [needs_rate, needs_weight, needs_bias]
        )
        return *(g if needed else None for g, needed in zip(grads, ctx.needs_input_grad[:3], strict=True)), None, None
