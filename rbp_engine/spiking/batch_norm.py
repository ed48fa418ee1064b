"""Batch norm in training, whose statistics a carrier takes over timesteps."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


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
    def with_statistics(self, values: Tensor, momentum: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise a batch [B, C, …] without a graph; also its mean and 1/√(var + ε), both [C].

        Raises ValueError for a single value per channel, as torch does.
        """
        if values.numel() == values.shape[1]:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {list(values.shape)}"
            )
        return torch.native_batch_norm(
            values,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            True,
            self.momentum if momentum is None else momentum,
            self.eps,
        )

    def at_rate(self, rate: Tensor, mean: Tensor, inverse_deviation: Tensor) -> Tensor:
        """Normalise firing rates [B, C, …] with statistics [C] of their sequence; the backward is that of a batch."""
        # It builds on the rule table, which builds on this module.
        from rbp_engine.spiking.gradients import BatchNormRate

        out: Tensor = BatchNormRate.apply(rate, self.weight, self.bias, mean, inverse_deviation)
        return out

    def static(self, values: Tensor, timesteps: int) -> Tensor:
        """Normalise values [B, C, …] that stand for T equal steps, with their graph.

        Mean and biased variance are those of the T·B batch. The running variance is the unbiased one, n/(n − 1), and is
        corrected to the count n of all T steps.
        """
        # Batch norm keeps its running variance for the backward: the correction goes to the module's, not to that one.
        updated = None if self.running_var is None else self.running_var.clone()
        out = F.batch_norm(values, self.running_mean, updated, self.weight, self.bias, True, self.momentum, self.eps)
        if self.running_var is not None and updated is not None:
            count = values.numel() // values.shape[1]
            unbiased = (timesteps * count / (timesteps * count - 1)) / (count / (count - 1))
            kept = self.running_var * (1.0 - self.momentum)
            self.running_var.copy_(kept + (updated - kept) * unbiased)
        return out
