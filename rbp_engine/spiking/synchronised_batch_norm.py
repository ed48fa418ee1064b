"""Batch norm whose statistics are those of all processes that train together.

Torch's own works on CUDA alone and knows no carriers. Here mean and variance are put together from those of every
process, weighted by its number of values, and the backward pass sums over processes what batch norm sums over a batch:
the result is that of one process with the joined batch, on any backend of torch.distributed.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from rbp_engine.spiking.batch_norm import BatchNorm

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"


def synchronise_batch_norm(model: nn.Module, processes: Any) -> None:
    """Have every batch norm module of the model take its statistics over a process group, from now on.

    It marks the carrier that comes in; what a module does with it, and the names of its weights, stay as they are.
    """

    def mark(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        x, *rest = args
        if isinstance(x, Tensor):
            return None
        marked = copy.copy(x)
        marked.processes = processes
        return (marked, *rest)

    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_pre_hook(mark)


@dataclass(frozen=True)
class SynchronisedBatchNorm(BatchNorm):
    """A `BatchNorm` over the processes of a group. Each may have another number of values, none has to have two."""

    processes: Any = field(default=None, kw_only=True)

    def __call__(self, values: Tensor) -> Tensor:
        if not self.training:
            return super().__call__(values)
        mean, inverse_deviation = self._joined(values, steps=1, momentum=self.momentum)
        return self.at_rate(values, mean, inverse_deviation)

    @torch.no_grad()
    def with_statistics(self, values: Tensor, momentum: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
        mean, inverse_deviation = self._joined(values, 1, self.momentum if momentum is None else momentum)
        return _affine(values, self.weight, self.bias, mean, inverse_deviation), mean, inverse_deviation

    def static(self, values: Tensor, timesteps: int) -> Tensor:
        mean, inverse_deviation = self._joined(values, timesteps, self.momentum)
        return self.at_rate(values, mean, inverse_deviation)

    def at_rate(self, rate: Tensor, mean: Tensor, inverse_deviation: Tensor) -> Tensor:
        out: Tensor = NormaliseOverProcesses.apply(
            rate, self.weight, self.bias, mean, inverse_deviation, self.processes
        )
        return out

    @torch.no_grad()
    def _joined(self, values: Tensor, steps: int, momentum: float) -> tuple[Tensor, Tensor]:
        """Mean and 1/√(var + ε), both [C], of the values [B, C, …] of all processes; moves the running statistics.

        The values stand for `steps` equal timesteps, which only the unbiased variance can tell.
        """
        kept = torch.promote_types(values.dtype, torch.float32)
        variance, mean = torch.var_mean(values.to(kept), _all_but_channels(values), correction=0)
        count = mean.new_tensor([values.numel() // values.shape[1]])
        own = torch.cat([mean, variance, count]).double()
        gathered = [torch.empty_like(own) for _ in range(distributed.get_world_size(self.processes))]
        distributed.all_gather(gathered, own, self.processes)
        means, variances, counts = torch.stack(gathered).split([len(mean), len(mean), 1], dim=1)
        total = counts.sum()
        weights = counts / total
        joined_mean = (weights * means).sum(0)
        joined_variance = (weights * (variances + (means - joined_mean) ** 2)).sum(0)
        if self.running_mean is not None and self.running_var is not None:
            unbiased = joined_variance * (steps * total / (steps * total - 1))
            self.running_mean.lerp_(joined_mean.to(self.running_mean.dtype), momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)
        return joined_mean.to(kept), (joined_variance + self.eps).rsqrt().to(kept)


class NormaliseOverProcesses(torch.autograd.Function):
    """γ(x − μ)/√(σ² + ε) + β, x [B, C, …], with statistics that all processes share; the backward is batch norm's own.

    A loss anywhere moves the statistics everywhere, so the sums of the backward go over all processes; the gradients
    of γ and β are this process's part.
    """

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        inverse_deviation: Tensor,
        processes: Any,
    ) -> Tensor:
        ctx.save_for_backward(values, weight, mean, inverse_deviation)
        ctx.processes = processes
        return _affine(values, weight, bias, mean, inverse_deviation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        values, weight, mean, inverse_deviation = ctx.saved_tensors
        needs_values, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_there = grad.to(mean.dtype)
        centred = values - _per_channel(mean, values)
        dims = _all_but_channels(values)
        sum_grad, sum_product = grad_there.sum(dims), (grad_there * centred).sum(dims)
        grad_values = None
        if needs_values:
            count = sum_grad.new_tensor([values.numel() // values.shape[1]])
            joined = torch.cat([sum_grad, sum_product, count])
            distributed.all_reduce(joined, group=ctx.processes)
            all_grad, all_product, total = joined.split([len(sum_grad), len(sum_grad), 1])
            slope = _per_channel(all_product / total * inverse_deviation**2, values)
            scale = inverse_deviation if weight is None else inverse_deviation * weight
            grad_values = grad_there - _per_channel(all_grad / total, values) - centred * slope
            grad_values = (grad_values * _per_channel(scale, values)).to(values.dtype)
        return (
            grad_values,
            sum_product * inverse_deviation if needs_weight else None,
            sum_grad if needs_bias else None,
            None,
            None,
            None,
        )


def _affine(
    values: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, inverse_deviation: Tensor
) -> Tensor:
    scale = inverse_deviation if weight is None else inverse_deviation * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return torch.addcmul(_per_channel(shift, values), values, _per_channel(scale, values)).to(values.dtype)


def _per_channel(numbers: Tensor, values: Tensor) -> Tensor:
    return numbers.view(1, -1, *[1] * (values.ndim - 2))


def _all_but_channels(values: Tensor) -> list[int]:
    return [0, *range(2, values.ndim)]
