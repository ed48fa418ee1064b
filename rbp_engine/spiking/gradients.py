"""Gradients of operations whose values are known before the graph is built (paper, section 4, equations 8–10).

Every linear operation commutes with the time mean, so the value of r after a layer is the mean of what the layer
made of the sequence, and nothing is computed a second time. These functions supply the gradient alone: what they return
has the shape of r and none of its values, until `WithValue` puts the two together for somebody who asks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.rules import UnsupportedOperation

if TYPE_CHECKING:
    from rbp_engine.spiking.current import Steps

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


# Bytes of a weight. On a CPU torch holds three copies of its gradient while it forms it; that of a larger one is formed
# in two halves of the output channels, which takes no longer: 0.94 of rate_S's memory (ResNet-18, T = 8, B = 32).
HALVED_ABOVE = 2**23

WeightedGradient: TypeAlias = Callable[[Tensor | None, "Seen", Tensor], Tensor]


class WithValue(torch.autograd.Function):
    """The value of one tensor with the gradient of another, both [B, …]."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad, None


def graph_only(like: Tensor) -> Tensor:
    """What a function returns whose values nobody reads: shape, type and device, and memory for one number."""
    return like.new_zeros(()).expand(like.shape)


def firing_rate(counts: Tensor, timesteps: int, dtype: torch.dtype) -> Tensor:
    """r [B, …] from the numbers of spikes [B, …] in T steps."""
    return counts.to(dtype).div_(timesteps)


@dataclass(frozen=True)
class Seen:
    """The input [B, …] that a weight's gradient is formed with, as it is or as the counts of spikes in T timesteps."""

    stored: Tensor
    counted: int | None = None

    @classmethod
    def of(cls, steps: "Steps", timesteps: int) -> "Seen":
        """The time mean of steps, for spikes as counts of them."""
        return cls(steps.time_mean()) if steps.counts is None else cls(steps.counts, timesteps)

    @staticmethod
    def load(stored: Tensor, counted: int | None, dtype: torch.dtype) -> Tensor:
        return stored if counted is None else firing_rate(stored, counted, dtype)


class LinearGradient(torch.autograd.Function):
    """c = W·x + b of a linear layer like `out` [B, …]: ∂L/∂x goes to `graph` [B, …, in], ∂L/∂W sees `seen`."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor | None, seen: Seen, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
        ctx.save_for_backward(seen.stored, weight)
        ctx.counted = seen.counted
        return graph_only(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        stored, weight = ctx.saved_tensors
        seen = Seen.load(stored, ctx.counted, grad.dtype)
        needs_graph, _, needs_weight, needs_bias, _ = ctx.needs_input_grad
        grad_rows, seen_rows = grad.reshape(-1, grad.shape[-1]), seen.reshape(-1, seen.shape[-1])
        return (
            grad @ weight if needs_graph else None,
            None,
            grad_rows.T @ seen_rows if needs_weight else None,
            grad_rows.sum(0) if needs_bias else None,
            None,
        )


class ConvolutionGradient(torch.autograd.Function):
    """c = W∗x + b of a convolution like `out` [B, …]: ∂L/∂x goes to `graph` [B, C, …], ∂L/∂W sees `seen`."""

    @staticmethod
    def forward(
        ctx: Any,
        graph: Tensor | None,
        seen: Seen,
        weight: Tensor,
        bias: Tensor | None,
        out: Tensor,
        geometry: tuple[Sequence[int], Sequence[int], Sequence[int]],
        groups: int,
    ) -> Tensor:
        ctx.save_for_backward(seen.stored, weight)
        ctx.counted, ctx.geometry, ctx.groups = seen.counted, geometry, groups
        ctx.bias_sizes = None if bias is None else list(bias.shape)
        return graph_only(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        stored, weight = ctx.saved_tensors
        seen = Seen.load(stored, ctx.counted, grad.dtype)
        stride, padding, dilation = ctx.geometry
        needs_graph, _, needs_weight, needs_bias = ctx.needs_input_grad[:4]

        def gradients(grad: Tensor, weight: Tensor, *needed: bool) -> tuple[Tensor, Tensor, Tensor]:
            return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
                grad, seen, weight, ctx.bias_sizes, stride, padding, dilation,
                False, [0] * len(stride), ctx.groups, needed,
            )  # fmt: skip

        if needs_weight and ctx.groups == 1 and weight.device.type == "cpu" and weight.nbytes > HALVED_ABOVE:
            grad_graph, _, grad_bias = gradients(grad, weight, needs_graph, False, needs_bias)
            grad_weight = torch.empty_like(weight)
            halves = grad_weight.chunk(2), grad.chunk(2, dim=1), weight.chunk(2)
            for grad_weight_half, grad_half, weight_half in zip(*halves, strict=True):
                grad_weight_half.copy_(gradients(grad_half, weight_half, False, True, False)[1])
        else:
            grad_graph, grad_weight, grad_bias = gradients(grad, weight, needs_graph, needs_weight, needs_bias)
        return grad_graph, None, grad_weight, grad_bias, None, None, None


def weighted_gradient(operation: str, args: Sequence[Any], kwargs: dict[str, Any]) -> WeightedGradient:
    """A convolution or linear layer whose output is known, as a function (graph, seen, out) ↦ graph of the output.

    `args` and `kwargs` are those of torch's function after its input. The gradient flows on to `graph`, the layer's
    input; the weight's gradient is formed with `seen` in the place of the input: the firing rate itself for the rate
    methods, the trace of the spikes for OTTT. `out` has the shape and the type of the output.
    """
    return (_linear if operation == "linear" else _convolution)(operation, *args, **kwargs)


def _linear(_: str, weight: Tensor, bias: Tensor | None = None) -> WeightedGradient:
    return lambda graph, seen, out: LinearGradient.apply(graph, seen, weight, bias, out)


def _convolution(
    operation: str,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> WeightedGradient:
    dims = weight.ndim - 2
    stride, dilation = _per_dim(stride, dims), _per_dim(dilation, dims)
    if padding == "valid":
        padding = 0
    if padding == "same":
        reach = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
        if any(length % 2 for length in reach):
            raise UnsupportedOperation(operation, "padding='same' with an even kernel; give the padding in numbers")
        padding = [length // 2 for length in reach]
    geometry = (stride, _per_dim(padding, dims), dilation)
    return lambda graph, seen, out: ConvolutionGradient.apply(graph, seen, weight, bias, out, geometry, groups)


def _per_dim(value: int | Sequence[int], dims: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values
