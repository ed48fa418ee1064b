"""The scores of an evaluation: loss, top-1 and top-5 over all batches."""

import torch
import torch.nn.functional as F
from torch import Tensor


class ScoreSums:
    """Sums over batches, which stay on the device until they are read."""

    def __init__(self) -> None:
        self.samples = 0
        self._sums: Tensor | None = None

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch of logits [B, C] and labels [B]."""
        right = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels.unsqueeze(1)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        batch = torch.stack([loss.double(), right[:, 0].sum().double(), right.sum().double()])
        self._sums = batch if self._sums is None else self._sums + batch
        self.samples += len(labels)

    def sums(self) -> list[float]:
        """The sums of loss, top-1 hits and top-5 hits; waits for the device."""
        return [0.0, 0.0, 0.0] if self._sums is None else self._sums.tolist()
