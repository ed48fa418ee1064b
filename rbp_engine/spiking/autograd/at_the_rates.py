"""Gradients at the firing rates of operations that do not commute with the time mean, but whose mean value is known.

The forward here computes nothing but what the backward needs, and returns a gradient proxy of the mean output
(`autograd/grad_proxy.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.autograd.grad_proxy import new_grad_proxy
from rbp_engine.spiking.autograd.weighted import WeightInput, per_dim

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"

Product = Callable[[Sequence[Tensor]], Tensor]


class MatrixProductGradient(torch.autograd.Function):
    """The gradient of a·b for matrices [B, …, N, K] and [B, …, K, M]: ∂L/∂a = g·r_bᵀ, ∂L/∂b = r_aᵀ·g.

    `means` are r_a and r_b, and the gradients go to their proxies; `out` has the shape of the product.
    """

    @staticmethod
    def forward(
        ctx: Any, means: Sequence[WeightInput], out: Tensor, left: Tensor | None, right: Tensor | None
    ) -> Tensor:
        _save(ctx, means)
        return new_grad_proxy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        left, right = (
            stored if counted is None else as_matrices([stored], grad.dtype)[0].div_(counted)
            for stored, counted in zip(ctx.saved_tensors, ctx.counted, strict=True)
        )
        _, _, needs_left, needs_right = ctx.needs_input_grad
        return (
            None,
            None,
            (grad @ right.mT).sum_to_size(left.shape) if needs_left else None,
            (left.mT @ grad).sum_to_size(right.shape) if needs_right else None,
        )


class ProductGradient(torch.autograd.Function):
    """The gradient of any product at the means of its factors; they go to the factors' `proxies`."""

    @staticmethod
    def forward(
        ctx: Any, means: Sequence[WeightInput], out: Tensor, product: Product, *proxies: Tensor | None
    ) -> Tensor:
        _save(ctx, means)
        ctx.product = product
        return new_grad_proxy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        needed = ctx.needs_input_grad[3:]
        factors = [
            WeightInput.load(stored, counted, grad.dtype).detach().requires_grad_(is_needed)
            for stored, counted, is_needed in zip(ctx.saved_tensors, ctx.counted, needed, strict=True)
        ]
        with torch.enable_grad():
            out = ctx.product(factors)
        found = iter(torch.autograd.grad(out, [factor for factor in factors if factor.requires_grad], grad))
        return None, None, None, *(next(found) if is_needed else None for is_needed in needed)


def _save(ctx: Any, means: Sequence[WeightInput]) -> None:
    ctx.save_for_backward(*(mean.stored for mean in means))
    ctx.counted = [mean.counted for mean in means]


def as_matrices(steps: Tensor | Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """A copy [T, B, …, N, M] of T tensors; each matrix is one piece of memory, by rows or by columns as it was.

    A product would copy others itself, value by value.
    """
    by_columns = steps[0].stride(-2) < steps[0].stride(-1)
    shape = steps[0].mT.shape if by_columns else steps[0].shape
    copies = torch.empty(len(steps), *shape, dtype=dtype, device=steps[0].device)
    matrices = copies.mT if by_columns else copies
    if isinstance(steps, Tensor):
        return matrices.copy_(steps)
    for copy, step in zip(matrices, steps, strict=True):
        copy.copy_(step)
    return matrices


class MaxPool2dGradient(torch.autograd.Function):
    """The gradient of a max pool of `rate` [B, C, H, W]: to the largest rate. `out` has the shape of its output.

    `settings` are kernel, stride, padding, dilation and ceil_mode, as aten takes them.
    """

    @staticmethod
    def forward(ctx: Any, rate: Tensor, out: Tensor, settings: Sequence[Any]) -> Tensor:
        _, indices = torch.ops.aten.max_pool2d_with_indices(rate, *settings)
        ctx.save_for_backward(indices)
        ctx.settings, ctx.shape = settings, rate.shape
        return new_grad_proxy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        [indices] = ctx.saved_tensors
        last = indices.is_contiguous(memory_format=torch.channels_last)
        # torch looks only at the shape and the layout of the input.
        layout = torch.channels_last if last else torch.contiguous_format
        like = torch.empty(ctx.shape, dtype=grad.dtype, device=grad.device, memory_format=layout)
        return torch.ops.aten.max_pool2d_with_indices_backward(grad, like, *ctx.settings, indices), None, None


def max_pool2d_gradient(
    rate: Tensor,
    out: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The gradient proxy of a max pool [B, C, H, W] of `rate`, with the arguments that torch's function has after it.

    `out` has the shape of the output.
    """
    pairs = [per_dim(size, 2) for size in (kernel_size, stride or kernel_size, padding, dilation)]
    proxy: Tensor = MaxPool2dGradient.apply(rate, out, (*pairs, ceil_mode))
    return proxy
