"""Batch norm with statistics over all processes that train together.

Torch's own works on CUDA alone and knows no carriers. Here mean and variance are combined from those of every process,
weighted by its number of values, and the backward pass sums over processes what batch norm sums over a batch: the
result is that of one process with the joined batch, on any backend of torch.distributed.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rbp_engine.spiking.batch_norm import BatchNorm, Normalisation, moments, per_channel


def synchronise_batch_norm(model: nn.Module, processes: Any) -> None:
    """Make every batch norm module of the model take its statistics over a process group.

    A hook marks the incoming carrier; the modules and the names of their weights do not change. A copy of the model
    waits for no other process.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_pre_hook(_Mark(processes))


class _Mark:
    """A hook before a batch norm that marks the incoming carrier with the group of processes."""

    def __init__(self, processes: Any) -> None:
        self.processes = processes

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        x, *rest = args
        if isinstance(x, Tensor):
            return None
        x.resolve()  # once for the carrier and its copy
        marked = copy.copy(x)
        marked.processes = self.processes
        return (marked, *rest)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Mark":
        """A copy of the network takes the statistics of this process's batch: no other process steps with it."""
        return _Mark(None)


@dataclass(frozen=True)
class SynchronisedBatchNorm(BatchNorm):
    """A `BatchNorm` over the processes of a group, which may have different numbers of values, even a single one.

    The loss of any process depends on the values of all, so the sums of the backward go over all processes; the
    gradients of weight and bias are this process's part.
    """

    processes: Any = field(default=None, kw_only=True)

    def __call__(self, values: Tensor) -> Tensor:
        return self.statistics(values)(values) if self.training else super().__call__(values)

    def statistics(self, values: Tensor) -> Normalisation:
        return self._joined(values, 1)

    def static(self, values: Tensor, timesteps: int) -> Tensor:
        return self._joined(values, timesteps)(values)

    @torch.no_grad()
    def _joined(self, values: Tensor, steps: int) -> Normalisation:
        """The batch norm with the statistics of all processes' values [B, C, …]; updates the running statistics.

        The values stand for `steps` equal timesteps; only the unbiased variance depends on their number.
        """
        mean, variance = moments(values)
        count = mean.new_full((1,), values.numel() // values.shape[1])
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
            self.running_mean.lerp_(joined_mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        inverse_deviation = (joined_variance + self.eps).rsqrt().to(mean.dtype)  # in float64
        return Normalisation(self, joined_mean.to(mean.dtype), None, inverse_deviation)

    def gradients(
        self, grad: Tensor, values: Tensor, mean: Tensor, inverse_deviation: Tensor, needed: Sequence[bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        grad_there = grad.to(mean.dtype)
        centred = values - per_channel(mean, values)
        dims = [0, *range(2, values.ndim)]
        sum_grad, sum_product = grad_there.sum(dims), (grad_there * centred).sum(dims)
        grad_values = None
        if needed[0]:
            count = sum_grad.new_full((1,), values.numel() // values.shape[1])
            joined = torch.cat([sum_grad, sum_product, count])
            distributed.all_reduce(joined, group=self.processes)
            all_grad, all_product, total = joined.split([len(sum_grad), len(sum_grad), 1])
            slope = per_channel(all_product / total * inverse_deviation**2, values)
            scale = inverse_deviation if self.weight is None else inverse_deviation * self.weight
            grad_values = grad_there - per_channel(all_grad / total, values) - centred * slope
            grad_values = (grad_values * per_channel(scale, values)).to(values.dtype)
        return (
            grad_values,
            sum_product * inverse_deviation if needed[1] else None,
            sum_grad if needed[2] else None,
        )
