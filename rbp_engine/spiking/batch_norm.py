"""Batch norm in training, whose statistics a carrier takes over timesteps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


@dataclass(frozen=True)
class BatchNorm:
    """The arguments of `torch.nn.functional.batch_norm` after its input."""

    running_mean: Tensor | None
    running_var: Tensor | None
    weight: Tensor | None = None
    bias: Tensor | None = None
    training: bool = False
    momentum: float = 0.1
    eps: float = 1e-5

    def __call__(self, values: Tensor) -> Tensor:
        """Normalise a batch [B, C, …] with its graph."""
        return F.batch_norm(
            values,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )

    @torch.no_grad()
    def statistics(self, values: Tensor) -> "Normalisation":
        """The batch norm with mean and variance of a batch [B, C, …]; updates the running statistics.

        Raises ValueError for a single value per channel, as torch does.
        """
        if values.numel() == values.shape[1]:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {list(values.shape)}"
            )
        mean, variance = moments(values, self.running_mean, self.running_var, self.momentum)
        return Normalisation(self, mean, variance)

    def running(self) -> "Normalisation":
        """The batch norm with its running statistics, as in evaluation."""
        assert self.running_mean is not None and self.running_var is not None
        return Normalisation(self, self.running_mean, self.running_var, fixed=True)

    def static(self, values: Tensor, timesteps: int) -> Tensor:
        """Normalise values [B, C, …] that stand for T equal steps, with their graph.

        Mean and biased variance equal those of the T·B batch. The running variance is unbiased by n/(n − 1), where n
        counts the values of all T steps; torch counts one step's, so it is corrected.
        """
        count = values.numel() // values.shape[1]
        # torch refuses a single value, of which there are T.
        samples = values if count > 1 else values.expand(timesteps, *values.shape).flatten(0, 1)
        # torch saves the running variance for the backward, so it gets a copy, and the module's own is corrected.
        updated = None if self.running_var is None else self.running_var.clone()
        out = F.batch_norm(samples, self.running_mean, updated, self.weight, self.bias, True, self.momentum, self.eps)
        if self.running_var is not None and updated is not None:
            counted, total = samples.numel() // samples.shape[1], timesteps * count
            unbiased = (total / (total - 1)) / (counted / (counted - 1))
            before = self.running_var * (1.0 - self.momentum)
            self.running_var.copy_(before + (updated - before) * unbiased)
        return out if count > 1 else out[:1]

    def gradients(
        self, grad: Tensor, values: Tensor, mean: Tensor, inverse_deviation: Tensor, needed: Sequence[bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients of values [B, C, …], weight and bias where `needed`; the statistics depend on the values."""
        # torch does not use the ε passed here: 1/√(σ² + ε) has it.
        return _where_needed(
            torch.ops.aten.native_batch_norm_backward(
                grad, values, self.weight, None, None, mean, inverse_deviation, True, 0.0, list(needed)
            ),
            needed,
        )


@dataclass(frozen=True, eq=False)
class Normalisation:
    """A batch norm whose mean and variance, both [C], are known; `fixed` where they are its running statistics.

    If 1/√(var + ε) itself is known, as a mean over timesteps or over all processes, it is `known_inverse`, and
    `variance` is None.
    """

    norm: BatchNorm
    mean: Tensor
    variance: Tensor | None
    known_inverse: Tensor | None = None
    fixed: bool = False

    @cached_property
    def inverse_deviation(self) -> Tensor:
        """1/√(var + ε), [C]."""
        if self.known_inverse is not None:
            return self.known_inverse
        assert self.variance is not None
        with torch.no_grad():
            return torch.rsqrt(self.variance + self.norm.eps)

    def __call__(self, values: Tensor) -> Tensor:
        """Normalise [B, C, …]; the backward is that of a batch norm which took its statistics from these values.

        The values may also be time means, and the statistics those of their sequence.
        """
        return Normalise.apply(values, self.norm.weight, self.norm.bias, self)

    def gradients(
        self, grad: Tensor, values: Tensor, needed: Sequence[bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients of values [B, C, …], weight and bias where `needed`, also through statistics of the batch."""
        norm = self.norm
        if not self.fixed:
            return norm.gradients(grad, values, self.mean, self.inverse_deviation, needed)
        running = norm.running_mean, norm.running_var
        return _where_needed(
            torch.ops.aten.native_batch_norm_backward(
                grad, values, norm.weight, *running, None, None, False, norm.eps, list(needed)
            ),
            needed,
        )

    @torch.no_grad()
    def affine(self) -> tuple[Tensor, Tensor]:
        """Its scale and shift, [C]."""
        return scale_and_shift(self.mean, self.inverse_deviation, self.norm.weight, self.norm.bias)


def scale_and_shift(
    mean: Tensor, inverse_deviation: Tensor, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The scale and shift of a batch norm with this mean and 1/√(var + ε), and with γ and β, [C] each."""
    scale = inverse_deviation if weight is None else inverse_deviation * weight
    return scale, -mean * scale if bias is None else bias - mean * scale


class Normalise(torch.autograd.Function):
    """γ(x − μ)/√(σ² + ε) + β, x [B, C, …]; the backward is batch norm's own at x."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, normalisation: Normalisation
    ) -> Tensor:
        ctx.save_for_backward(values)
        ctx.normalisation = normalisation
        scale, shift = normalisation.affine()
        return torch.addcmul(per_channel(shift, values), values, per_channel(scale, values)).to(values.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        return *ctx.normalisation.gradients(grad, *ctx.saved_tensors, ctx.needs_input_grad[:3]), None


def _where_needed(
    gradients: tuple[Tensor, Tensor, Tensor], needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    values, weight, bias = (
        gradient if is_needed else None for gradient, is_needed in zip(gradients, needed, strict=True)
    )
    return values, weight, bias


def moments(
    values: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None, momentum: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] of values [B, C, …], float32 at least; updates the running statistics.

    torch.var_mean is some 20 times slower on a CPU.
    """
    if running_mean is None or running_var is None:
        # Without them the result would have the type of the values.
        dtype = torch.promote_types(values.dtype, torch.float32)
        running_mean, running_var = torch.zeros(2, values.shape[1], dtype=dtype, device=values.device)
    mean, variance = torch.ops.aten.batch_norm_update_stats(values, running_mean, running_var, momentum)
    return mean, variance


def per_channel(numbers: Tensor, values: Tensor) -> Tensor:
    """Numbers [C], shaped to broadcast against values [B, C, …]."""
    return numbers.view(1, -1, *[1] * (values.ndim - 2))
