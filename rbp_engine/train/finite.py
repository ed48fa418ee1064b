"""Keep NaN and infinity out of the weights, without waiting for the device."""

import torch
from torch import Tensor, nn

from rbp_engine.train.statistics import Joined, Statistics


class FiniteGuard:
    """Steps an optimizer as long as the gradients are finite, and never again after that.

    The gradients have been averaged over all ranks: a NaN of one is a NaN on all, so all stop at the same step without
    communication. From then on the weights and the optimizer's state stay those of the last finite step, whatever is
    computed until the caller reads `skipped`; the running statistics can be restored.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._parameters = list(model.parameters())
        # Also their counts of batches.
        self._statistics = Statistics(
            buffer for buffer in model.buffers() if buffer.is_floating_point() or buffer.numel() == 1
        )
        self._kept: Joined = {}
        self._skipped = torch.zeros((), device=self._parameters[0].device)
        self._nan = torch.full_like(self._skipped, float("nan"))
        # Fused optimizers check a flag on the device themselves; for the others it has to be fetched.
        self._on_device = bool(getattr(optimizer, "_step_supports_amp_scaling", False))

    @property
    def skipping(self) -> Tensor:
        """Whether a step has been skipped, and so the last one too; on the device, without waiting for it."""
        return self._skipped > 0

    @property
    def skipped(self) -> int:
        """How many of the last steps were skipped; waits for the device."""
        return int(self._skipped)

    def step(self, loss: Tensor) -> Tensor:
        """Step, or skip the step; returns the loss to record, which is NaN for a skipped step."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        # The 2-norm is fast on a CPU, too. It also rejects gradients whose squares overflow, which Adam cannot use.
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
        joined = self._statistics.joined()
        self._kept = {kind: torch.where(skip, self._kept.get(kind, now), now) for kind, now in joined.items()}

    def restore_statistics(self) -> None:
        """Restore the running statistics of the last finite step: the skipped ones have updated them."""
        if self._kept:
            self._statistics.put(self._kept)
