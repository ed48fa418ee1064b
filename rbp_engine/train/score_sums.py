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
        before = more_likely(logits, labels)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        by_step = (logits_by_step[:-1].cumsum(0).argmax(-1) == labels).sum(1)
        # The last is the prediction itself: the running sum rounds differently from the mean.
        top1, top5 = ((before < count).sum().double() for count in (1, 5))
        batch = torch.stack([loss.double(), top1, top5, *by_step.double(), top1])
        self._sums = batch if self._sums is None else self._sums + batch
        self.samples += len(labels)

    def sums(self) -> list[float]:
        """The sums of loss, top-1 hits, top-5 hits, and top-1 hits after each timestep; waits for the device."""
        return [0.0] * (3 + self.timesteps) if self._sums is None else self._sums.tolist()


def more_likely(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before each label, [B], of logits [B, C]; equal ones in order, as for argmax."""
    label = labels.unsqueeze(1)
    own = logits.gather(1, label)
    earlier = torch.arange(logits.shape[1], device=logits.device) < label
    return (~(logits <= own) | (logits == own) & earlier).sum(1)  # NaN comes before every number
