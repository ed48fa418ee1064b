"""Self-distillation: a network's own output teaches light heads on the firing rates of its inner layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from rbp_engine.methods.loss import full


@dataclass(frozen=True)
class SelfDistillation:
    """What heads with the outputs h_i [B, C] add to the loss, for the network's own output o and the labels y:

        α·Σ_i CE(h_i, y) + β·Σ_i τ²·KL( softmax(o / τ) ‖ softmax(h_i / τ) )        the means over the batch

    α is `weight`, β `distill`, τ `temperature`. o is a constant here, and a sample counts in KL only if o gives its
    class: a teacher that is wrong teaches nothing. The means are over all samples of the batch, so that the loss of a
    batch is the mean of those of its parts. After Zhao et al., NeurIPS 2025. Raises ValueError for a setting out of
    range.
    """

    weight: float = 0.3
    distill: float = 0.1
    temperature: float = 4.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.weight < float("inf") and 0.0 <= self.distill < float("inf")):
            raise ValueError(f"the weights of heads are 0 or more, got {self.weight} and {self.distill}")
        if not self.weight and not self.distill:
            raise ValueError("heads need a weight above 0, of their own loss or of the teacher's")
        if not 0.0 < self.temperature < float("inf"):
            raise ValueError(f"the temperature is above 0, got {self.temperature}")

    def __call__(self, heads: Sequence[Tensor], logits: Tensor, labels: Tensor) -> Tensor:
        """Of the heads' outputs and the network's, each [B, C], and labels [B] or probabilities of classes [B, C]."""
        teacher = full(logits).detach()
        labels = labels if labels.ndim == 1 else labels.to(teacher.dtype)
        classes = labels if labels.ndim == 1 else labels.argmax(1)
        reliable = teacher.argmax(1) == classes
        targets = F.log_softmax(teacher / self.temperature, 1)
        value = teacher.new_zeros(())
        for head in map(full, heads):
            if self.weight:
                value = value + self.weight * F.cross_entropy(head, labels)
            if self.distill:
                own = F.log_softmax(head / self.temperature, 1)
                distance = F.kl_div(own, targets, reduction="none", log_target=True).sum(1)
                value = value + self.distill * self.temperature**2 * (distance * reliable).mean()
        return value


@dataclass(frozen=True)
class HeadOutputs:
    """What a network with heads returns in training: its own output, and the heads' as carriers [B, C]."""

    network: Any
    heads: tuple[Any, ...]
    distillation: SelfDistillation
