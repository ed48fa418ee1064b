"""Keeps what is not finite away from the weights, without waiting for the device."""

import torch
from torch import Tensor, nn


class FiniteGuard:
    """Steps an optimizer for as long as the gradients are finite, and never again after.

    The gradients are those that have been averaged over all ranks: a NaN of one is a NaN on all of them, so all stop at
    the same step without asking each other. From then on weights, the optimizer's state stay those of the
    last finite step, whatever is computed until somebody reads `skipped`, and the running statistics can be restored.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._parameters = list(model.parameters())
        # Running statistics, and the counts of batches that go with them: by type, so that joining converts nothing.
        self._statistics: dict[torch.dtype, list[Tensor]] = {}
        for buffer in model.buffers():
            if buffer.is_floating_point() or buffer.numel() == 1:
                self._statistics.setdefault(buffer.dtype, []).append(buffer)
        self._kept: dict[torch.dtype, Tensor] = {}
        self._skipped = torch.zeros((), device=self._parameters[0].device)
        self._nan = torch.full_like(self._skipped, float("nan"))
        # Fused optimizers look at a flag on the device by themselves; for the others it has to be fetched.
        self._on_device = bool(getattr(optimizer, "_step_supports_amp_scaling", False))

    @property
    def skipped(self) -> int:
        """How many of the last steps have changed nothing; waits for the device."""
        return int(self._skipped)

    def step(self, loss: Tensor) -> Tensor:
        """Step, or skip; the loss to tell of, which is NaN where the step was skipped."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        # The norm that is fast on a CPU, too. Gradients whose squares overflow are of no use to Adam either.
        norms = torch.stack(torch._foreach_norm(gradients, 2))
        skip = ~torch.isfinite(norms).all() | (self._skipped > 0)
        self._skipped += skip
        if self._on_device:
            self.optimizer.found_inf = skip.float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not skip:
            self.optimizer.step()
        self._keep_statistics(skip)
        return torch.where(skip, self._nan, loss)

    def _keep_statistics(self, skip: Tensor) -> None:
        for dtype, statistics in self._statistics.items():
            joined = torch.cat([statistic.flatten() for statistic in statistics])
            self._kept[dtype] = torch.where(skip, self._kept[dtype], joined) if dtype in self._kept else joined

    def restore_statistics(self) -> None:
        """Give the model the running statistics of the last finite step: those of the others have seen it go wrong."""
        for dtype, kept in self._kept.items():
            statistics = self._statistics[dtype]
            parts = kept.split([statistic.numel() for statistic in statistics])
            for statistic, part in zip(statistics, parts, strict=True):
                statistic.copy_(part.view_as(statistic))
