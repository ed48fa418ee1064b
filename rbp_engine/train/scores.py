"""How good predictions are: loss, top-1 and top-5 over all batches of an evaluation."""

import torch
import torch.nn.functional as F
from torch import Tensor


class Scores:
    """Sums over batches; they stay on the device until somebody asks for them."""

    def __init__(self) -> None:
        self.samples = 0
        self._sums: Tensor | None = None

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """A batch of logits [B, C] and labels [B]."""
        right = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels.unsqueeze(1)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        batch = torch.stack([loss.double(), right[:, 0].sum().double(), right.sum().double()])
        self._sums = batch if self._sums is None else self._sums + batch
        self.samples += len(labels)

    def sums(self) -> list[float]:
        """Of loss, top-1 and top-5 hits; waits for the device."""
        return [0.0, 0.0, 0.0] if self._sums is None else self._sums.tolist()
