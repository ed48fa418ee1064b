"""Gradients at the firing rates of operations that do not commute with the time mean, but whose mean value is known.

The forward here computes nothing but what the backward needs, and returns a gradient proxy of the mean output
(`autograd/grad_proxy.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.autograd.grad_proxy import new_grad_proxy
from rbp_engine.spiking.autograd.nonlinear import Nonlinear
from rbp_engine.spiking.autograd.weighted import per_dim
from rbp_engine.spiking.kernels.steps import Dense, Spikes, Steps, WeightInput, as_matrices
from rbp_engine.spiking.linear import OpenCall, Over

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


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
        ctx: Any, means: Sequence[WeightInput], out: Tensor, product: OpenCall, *proxies: Tensor | None
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
            out = ctx.product(*factors)
        found = iter(torch.autograd.grad(out, [factor for factor in factors if factor.requires_grad], grad))
        return None, None, None, *(next(found) if is_needed else None for is_needed in needed)


def _save(ctx: Any, means: Sequence[WeightInput]) -> None:
    ctx.save_for_backward(*(mean.stored for mean in means))
    ctx.counted = [mean.counted for mean in means]


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


@dataclass(frozen=True)
class AtMean(Nonlinear):
    """An operation whose gradient is taken at the time means of its inputs, such as a maximum."""

    call: OpenCall

    def __call__(self, *values: Tensor) -> Tensor:
        out: Tensor = self.call(*values)
        return out

    def grad_proxy(self, inputs: Sequence[Steps], out: Steps, parts: Sequence[Tensor]) -> Tensor:
        return self(*(x.rate() for x in inputs))


@dataclass(frozen=True)
class MaxPool2d(AtMean):
    """`torch.nn.functional.max_pool2d`, whose backward needs the places of the maxima alone."""

    def grad_proxy(self, inputs: Sequence[Steps], out: Steps, parts: Sequence[Tensor]) -> Tensor:
        [x] = inputs
        proxy: Tensor = MaxPool2dGradient.apply(x.rate(), out.at(0), _settings(*self.call.args[1:], **self.call.kwargs))
        return proxy


def _settings(
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Any, ...]:
    """What torch's function has after its input, as aten takes it."""
    return *(per_dim(size, 2) for size in (kernel_size, stride or kernel_size, padding, dilation)), ceil_mode


@dataclass(frozen=True)
class Product(Nonlinear):
    """A product, linear in each of its factors; after the carriers come `constants`, factors without time.

    With ∂L/∂r_out the same at every step its gradient is the time mean of the steps' own: mean_t f(·, b_t)ᵀ g =
    f(·, r_b)ᵀ g. It is exact where a or b is the same at every step, and where the two do not vary together in time;
    what is lost is the correlation of one factor with the other's eligibility.
    """

    call: OpenCall
    constants: tuple[Tensor, ...] = ()
    over: Over = "step"

    def __call__(self, *values: Tensor) -> Tensor:
        out: Tensor = self.call(*values, *self.constants)
        return out

    def grad_proxy(self, inputs: Sequence[Steps], out: Steps, parts: Sequence[Tensor]) -> Tensor:
        means = [*(x.weight_input() for x in inputs), *(WeightInput(x.detach()) for x in self.constants)]
        proxies = [*(x.grad_proxy for x in inputs), *self.constants]
        proxy: Tensor = ProductGradient.apply(means, out.at(0), self.call, *proxies)
        return proxy


@dataclass(frozen=True)
class MatrixProduct(Product):
    """a·b of two carriers, [B, …, N, K] and [B, …, K, M]."""

    def at_all_steps(self, inputs: Sequence[Steps], timesteps: int) -> tuple[Tensor, Sequence[Tensor]]:
        whole = [Dense(x.matrices()) if isinstance(x, Spikes) else x for x in inputs]
        return super().at_all_steps(whole, timesteps)

    def grad_proxy(self, inputs: Sequence[Steps], out: Steps, parts: Sequence[Tensor]) -> Tensor:
        means, proxies = [x.weight_input() for x in inputs], [x.grad_proxy for x in inputs]
        proxy: Tensor = MatrixProductGradient.apply(means, out.at(0), *proxies)
        return proxy
