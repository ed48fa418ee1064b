"""Gradient proxies: a value and its gradient travel apart.

The values of the rate pass are known before its graph is built: c and r are time means of what the T steps have
computed. Only the gradient is missing. A gradient proxy is a tensor [B, …] that stands in the graph in place of the
mean: its `grad_fn` leads to the layers before, its values are never read. Those of layers and neurons have zero
strides, one number of memory; where autograd makes one, it is what autograd computes. `WithValue` puts value and
gradient together where an ordinary torch function needs both.
"""

from typing import Any

import torch
from torch import Tensor

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


class WithValue(torch.autograd.Function):
    """The value of one tensor with the gradient of another, both [B, …]."""

    @staticmethod
    def forward(ctx: Any, grad_proxy: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad, None


def new_grad_proxy(like: Tensor) -> Tensor:
    """A gradient proxy of the shape, type and device of `like`; an `autograd.Function` returns it from its forward."""
    return like.new_empty(()).expand(like.shape)
