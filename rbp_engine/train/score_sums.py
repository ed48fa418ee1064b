"""The scores of an evaluation: loss, top-1, top-5, and top-1 after each timestep, over all batches."""

import torch
import torch.nn.functional as F
from torch import Tensor


class ScoreSums:
    """Sums over batches, which stay on the device until they are read."""

    def __init__(self, timesteps: int) -> None:
        self.timesteps = timesteps
        self.samples = 0
        self._sums: Tensor | None = None

    def add(self, logits_by_step: Tensor, labels: Tensor) -> None:
        """Add a batch of logits [T, B, C] and labels [B]. A prediction is the mean of the logits so far."""
        logits = logits_by_step.mean(0)
        right = first_five(logits) == labels.unsqueeze(1)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        by_step = (logits_by_step[:-1].cumsum(0).argmax(-1) == labels).sum(1)
        # The last is the prediction itself: the running sum rounds otherwise than the mean.
        top1 = right[:, 0].sum().double()
        batch = torch.stack([loss.double(), top1, right.sum().double(), *by_step.double(), top1])
        self._sums = batch if self._sums is None else self._sums + batch
        self.samples += len(labels)

    def sums(self) -> list[float]:
        """The sums of loss, top-1 hits, top-5 hits, and top-1 hits after each timestep; waits for the device."""
        return [0.0] * (3 + self.timesteps) if self._sums is None else self._sums.tolist()


def first_five(logits: Tensor) -> Tensor:
    """The five most likely classes, or all if there are fewer, of logits [B, C]: [B, 5], the prediction first."""
    return logits.topk(min(5, logits.shape[1]), dim=1).indices
