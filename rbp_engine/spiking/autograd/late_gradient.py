"""A memory trick, no part of the method: large weight gradients are formed when the backward pass is over.

The deep layers come first in a backward pass, while all that the others saved is still in memory. The gradients of
their weights, which are larger than what the layers compute, would set the peak.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


class LateGradient(torch.autograd.Function):
    """A weight whose gradient is formed when nothing else is left of the backward pass.

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
    """The weight as its layer uses it, and the list for the function that forms its gradient; None to form it at once.

    `out` is the output of the layer.
    """
    if not (torch.is_grad_enabled() and weight.requires_grad and worth_delaying(weight, out)):
        return weight, None
    late: list[Callable[[], Tensor]] = []
    wrapped: Tensor = LateGradient.apply(weight, late)
    # Among the nodes that are ready, autograd runs the one with the highest sequence number first.
    wrapped.grad_fn._set_sequence_nr(0)  # type: ignore[union-attr]
    return wrapped, late


def worth_delaying(weight: Tensor, out: Tensor) -> bool:
    """Whether a weight is larger than its layer's output, in a single process on a CPU.

    Several processes exchange gradients while the pass goes on, and on a GPU torch does not copy gradients.
    """
    alone = not (distributed.is_available() and distributed.is_initialized())
    return alone and weight.device.type == "cpu" and weight.numel() > out.numel()
