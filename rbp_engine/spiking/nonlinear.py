"""Operations that are not linear in their input x, [N, …], where N is the batch of one timestep or of several.

The rate methods take mean_t f(x_t) for the value. For the gradient they take the mean over time of the Jacobian, as if
its parts were independent in time: the parts are averaged over the steps, and used at the mean input r. Maxima and
products have the Jacobian at r.

    group, layer norm              backward of the norm at r, with mean_t μ_t and mean_t 1/√(σ²_t + ε)
    F.normalize                    s = mean_t 1/‖x_t‖, y = mean_t y_t        ∂L/∂r = s·(∂L/∂y − y·⟨y, ∂L/∂y⟩)
    RMS norm                       backward of the norm at r, with mean_t 1/√(mean x²_t + ε)
    pointwise φ                    ∂L/∂r = ∂L/∂r_out ⊙ mean_t φ'(x_t)
    one number φ of several        ∂L/∂r_i = ∂L/∂r_out · mean_t ∂φ/∂x_{i,t}
    maxima and minima              the gradient goes to the extreme means
    products f(a, b)               ∂L/∂r_a = f(·, r_b)ᵀ ∂L/∂r_out, ∂L/∂r_b = f(r_a, ·)ᵀ ∂L/∂r_out
    softmax                        p = mean_t p_t                           ∂L/∂r = p ⊙ (∂L/∂p − ⟨p, ∂L/∂p⟩)
    log-softmax                    p = mean_t p_t                           ∂L/∂r = ∂L/∂y − p·Σ ∂L/∂y

The other methods use autograd on each step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from rbp_engine.spiking.dtypes import full, membrane_dtype
from rbp_engine.spiking.linear import OpenCall, Over, at_all_steps, folded, per_dim, unfolded
from rbp_engine.spiking.steps import Dense, Spikes, Steps, WeightInput, as_matrices, new_grad_proxy

# torch's types call every autograd.Function method untyped; an operation of one input names it.
# mypy: disable-error-code="misc, untyped-decorator, override"


class Nonlinear:
    """An operation of one or several inputs that does not commute with the time mean.

    The rate methods compute it at each timestep, and take the mean. Their gradient needs the time means of its inputs,
    and of parts of its Jacobian. `over` is that of `spiking/linear.py`: "batch" for an operation with parts.
    """

    over: Over = "batch"

    def __call__(self, *values: Tensor) -> Tensor:
        """The operation, with autograd's graph."""
        raise NotImplementedError

    def steps(self, *values: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """The output, and the parts of its Jacobian, all [N, …]; without a graph."""
        return self(*values), ()

    def at_all_steps(self, inputs: Sequence[Steps], timesteps: int) -> tuple[Tensor, Sequence[Tensor]]:
        """The same for all timesteps, all [T, B, …]."""
        if self.over != "batch":
            return at_all_steps(self, self.over, inputs, timesteps), ()
        out, parts = self.steps(*folded(inputs, timesteps))
        return unfolded(out, timesteps), [unfolded(part, timesteps) for part in parts]

    def grad_proxy(self, inputs: Sequence[Steps], out: Steps, parts: Sequence[Tensor]) -> Tensor:
        """The gradient proxy of the mean output `out`; inputs have their proxies, and parts are time means."""
        [x] = inputs
        return self.of_rate(x.rate(), out, *parts)

    def of_rate(self, rate: Tensor, out: Steps, *parts: Tensor) -> Tensor:
        """The same, of an operation with one input, whose mean `rate` has its gradient."""
        raise NotImplementedError


@dataclass(frozen=True)
class GroupNorm(Nonlinear):
    """The arguments of `torch.nn.functional.group_norm` after its input."""

    groups: int
    weight: Tensor | None = None
    bias: Tensor | None = None
    eps: float = 1e-5

    def __call__(self, values: Tensor) -> Tensor:
        return F.group_norm(values, self.groups, self.weight, self.bias, self.eps)

    def steps(self, values: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        sizes = len(values), values.shape[1], values[0, 0].numel(), self.groups
        out, *parts = torch.native_group_norm(values.contiguous(), self.weight, self.bias, *sizes, self.eps)
        return out, parts

    def of_rate(self, rate: Tensor, out: Steps, *parts: Tensor) -> Tensor:
        return _NormGradient.apply(rate, self.weight, self.bias, self.backward, *parts)

    def backward(self, grad: Tensor, rate: Tensor, mean: Tensor, inverse: Tensor, needed: list[bool]) -> Any:
        sizes = len(rate), rate.shape[1], rate[0, 0].numel(), self.groups
        arguments = grad.contiguous(), rate.contiguous(), mean, inverse, self.weight
        return torch.ops.aten.native_group_norm_backward(*arguments, *sizes, needed)


@dataclass(frozen=True)
class LayerNorm(Nonlinear):
    """The arguments of `torch.nn.functional.layer_norm` after its input."""

    shape: Sequence[int]
    weight: Tensor | None = None
    bias: Tensor | None = None
    eps: float = 1e-5

    def __call__(self, values: Tensor) -> Tensor:
        return F.layer_norm(values, list(self.shape), self.weight, self.bias, self.eps)

    def steps(self, values: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        out, *parts = torch.native_layer_norm(values, list(self.shape), self.weight, self.bias, self.eps)
        return out, parts

    def of_rate(self, rate: Tensor, out: Steps, *parts: Tensor) -> Tensor:
        return _NormGradient.apply(rate, self.weight, self.bias, self.backward, *parts)

    def backward(self, grad: Tensor, rate: Tensor, mean: Tensor, inverse: Tensor, needed: list[bool]) -> Any:
        arguments = list(self.shape), mean, inverse, self.weight, self.bias
        return torch.ops.aten.native_layer_norm_backward(grad.contiguous(), rate.contiguous(), *arguments, needed)


class _NormGradient(torch.autograd.Function):
    """Backward of a norm whose mean and 1/√(σ² + ε) are given, at `rate`."""

    @staticmethod
    def forward(
        ctx: Any,
        rate: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        backward: Callable[..., Any],
        *parts: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(rate, *parts)
        ctx.norm_backward = backward
        return new_grad_proxy(rate)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        needed = list(ctx.needs_input_grad[:3])
        gradients = ctx.norm_backward(grad, *ctx.saved_tensors, needed)
        return *(x if is_needed else None for x, is_needed in zip(gradients, needed, strict=True)), None, None, None


@dataclass(frozen=True)
class Normalize(Nonlinear):
    """`torch.nn.functional.normalize`: y = x/max(‖x‖, ε), the Euclidean norm over `dim`."""

    dim: int
    eps: float

    def __call__(self, values: Tensor) -> Tensor:
        return F.normalize(values, dim=self.dim, eps=self.eps)

    def steps(self, values: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        inverse = 1 / torch.linalg.vector_norm(values, dim=self.dim, keepdim=True).clamp_min(self.eps)
        return values * inverse, [inverse]

    def of_rate(self, rate: Tensor, out: Steps, inverse: Tensor) -> Tensor:
        y = out.time_mean()
        # Symmetric, so that its backward is itself.
        return inverse * (rate - y * (y * rate).sum(self.dim, keepdim=True))


@dataclass(frozen=True)
class Pointwise(Nonlinear):
    """A function of each number."""

    function: Callable[[Tensor], Tensor]

    def __call__(self, values: Tensor) -> Tensor:
        return self.function(values)

    def steps(self, values: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        with torch.enable_grad():
            x = values.detach().requires_grad_()
            out = self.function(x)
            return out.detach(), torch.autograd.grad(out.sum(), x)

    def of_rate(self, rate: Tensor, out: Steps, slope: Tensor) -> Tensor:
        return rate * slope


@dataclass(frozen=True)
class Reduction(Pointwise):
    """A function that reduces each row along some dimensions to one number, such as a norm.

    Each number of the input affects one number of the output, and has one slope: ∂φ/∂x_i.
    """

    dims: tuple[int, ...]

    def of_rate(self, rate: Tensor, out: Steps, slope: Tensor) -> Tensor:
        return (rate * slope).sum(self.dims, keepdim=out.at(0).ndim == rate.ndim)


@dataclass(frozen=True)
class RMSNorm(Nonlinear):
    """The arguments of `torch.nn.functional.rms_norm` after its input."""

    shape: Sequence[int]
    weight: Tensor | None = None
    eps: float | None = None

    def __call__(self, values: Tensor) -> Tensor:
        return F.rms_norm(values, list(self.shape), self.weight, self.eps)

    def steps(self, values: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        eps = torch.finfo(membrane_dtype(values.dtype)).eps if self.eps is None else self.eps  # as torch's
        return self(values), [(full(values).square().mean(self._dims, keepdim=True) + eps).rsqrt().to(values.dtype)]

    def of_rate(self, rate: Tensor, out: Steps, inverse: Tensor) -> Tensor:
        scaled = rate * inverse
        fixed = scaled.detach()
        # The value of `scaled`, whose gradient is taken along the sphere of constant mean square.
        normed = scaled - fixed * (fixed * (scaled - fixed)).mean(self._dims, keepdim=True)
        return normed if self.weight is None else normed * self.weight

    @property
    def _dims(self) -> tuple[int, ...]:
        return tuple(range(-len(self.shape), 0))


@dataclass(frozen=True)
class Softmax(Nonlinear):
    """p over `dim`, in another type if `dtype` says so."""

    dim: int
    dtype: torch.dtype | None = None

    def __call__(self, values: Tensor) -> Tensor:
        return torch.softmax(values, self.dim, self.dtype)

    def of_rate(self, rate: Tensor, out: Steps) -> Tensor:
        return _SoftmaxGradient.apply(rate, out.time_mean(), self.dim)


class _SoftmaxGradient(torch.autograd.Function):
    """∂L/∂r = p ⊙ (∂L/∂p − ⟨p, ∂L/∂p⟩); r may be −∞ where an attention is masked."""

    @staticmethod
    def forward(ctx: Any, rate: Tensor, out: Tensor, dim: int) -> Tensor:
        ctx.save_for_backward(out)
        ctx.dim, ctx.dtype = dim, rate.dtype
        return new_grad_proxy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        [out] = ctx.saved_tensors
        return (out * (grad - (out * grad).sum(ctx.dim, keepdim=True))).to(ctx.dtype), None, None


@dataclass(frozen=True)
class LogSoftmax(Nonlinear):
    """log p over `dim`, in another type if `dtype` says so."""

    dim: int
    dtype: torch.dtype | None = None

    def __call__(self, values: Tensor) -> Tensor:
        return torch.log_softmax(values, self.dim, self.dtype)

    def steps(self, values: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        out = self(values)
        return out, [out.exp()]

    def of_rate(self, rate: Tensor, out: Steps, p: Tensor) -> Tensor:
        rate = rate.to(p.dtype)
        return rate - (p * rate).sum(self.dim, keepdim=True)


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
    """The gradient of any product at the means of its factors; it goes to the factors' `proxies`."""

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
        gradients = iter(torch.autograd.grad(out, [factor for factor in factors if factor.requires_grad], grad))
        return None, None, None, *(next(gradients) if is_needed else None for is_needed in needed)


def _save(ctx: Any, means: Sequence[WeightInput]) -> None:
    ctx.save_for_backward(*(mean.stored for mean in means))
    ctx.counted = [mean.counted for mean in means]


class MaxPool2dGradient(torch.autograd.Function):
    """The gradient of a max pool of `rate` [B, C, H, W], which goes to the largest rate. `out` has the output's shape.

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
        return self.call(*values)

    def grad_proxy(self, inputs: Sequence[Steps], out: Steps, parts: Sequence[Tensor]) -> Tensor:
        return self(*(x.rate() for x in inputs))


@dataclass(frozen=True)
class MaxPool2d(AtMean):
    """`torch.nn.functional.max_pool2d`, whose backward needs only the positions of the maxima."""

    def grad_proxy(self, inputs: Sequence[Steps], out: Steps, parts: Sequence[Tensor]) -> Tensor:
        [x] = inputs
        return MaxPool2dGradient.apply(x.rate(), out.at(0), _settings(*self.call.args[1:], **self.call.kwargs))


def _settings(
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Any, ...]:
    """The arguments of torch's function after its input, in the form that aten takes."""
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
        return self.call(*values, *self.constants)

    def grad_proxy(self, inputs: Sequence[Steps], out: Steps, parts: Sequence[Tensor]) -> Tensor:
        means = [*(x.weight_input() for x in inputs), *(WeightInput(x.detach()) for x in self.constants)]
        proxies = [*(x.grad_proxy for x in inputs), *self.constants]
        return ProductGradient.apply(means, out.at(0), self.call, *proxies)


@dataclass(frozen=True)
class MatrixProduct(Product):
    """a·b of two carriers, [B, …, N, K] and [B, …, K, M]."""

    def at_all_steps(self, inputs: Sequence[Steps], timesteps: int) -> tuple[Tensor, Sequence[Tensor]]:
        whole = [Dense(as_matrices(x.bytes_TBX, x.dtype)) if isinstance(x, Spikes) else x for x in inputs]
        return super().at_all_steps(whole, timesteps)

    def grad_proxy(self, inputs: Sequence[Steps], out: Steps, parts: Sequence[Tensor]) -> Tensor:
        means, proxies = [x.weight_input() for x in inputs], [x.grad_proxy for x in inputs]
        return MatrixProductGradient.apply(means, out.at(0), *proxies)
