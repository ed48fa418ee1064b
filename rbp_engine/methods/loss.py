"""The loss of a training step: of the mean output over time, or of the output at every timestep."""

from dataclasses import dataclass
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.vocabulary import LossName


@dataclass(frozen=True)
class Loss:
    """What a training step minimises, from outputs o_t and labels y; the mean over the batch.

        ce     CE(mean_t o_t, y)
        mse    MSE(mean_t o_t, y as one-hot), the mean over the classes too
        tet    mean_t [ (1 − w)·CE(o_t, y) + w·MSE(o_t, φ) ]    temporal efficient training (Deng et al., ICLR 2022)

    w is `mse_weight`, φ `mse_target`, in the paper the threshold. `label_smoothing` ε makes y (1 − ε)·y + ε/C, with C
    classes. Labels are [B] or the probabilities of classes, [B, C]. Raises ValueError for a setting out of range.
    """

    name: LossName = "ce"
    label_smoothing: float = 0.0
    mse_weight: float = 0.0
    mse_target: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in get_args(LossName):
            raise ValueError(f"unknown loss {self.name!r}: one of {', '.join(get_args(LossName))}")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing is from 0 to less than 1, got {self.label_smoothing}")
        if not 0.0 <= self.mse_weight <= 1.0:
            raise ValueError(f"mse_weight is from 0 to 1, got {self.mse_weight}")
        if self.mse_weight and self.name != "tet":
            raise ValueError(f"mse_weight is for the loss 'tet', and this is {self.name!r}")

    @property
    def at_every_step(self) -> bool:
        """Whether it is a mean over timesteps, and not a loss of the mean output."""
        return self.name == "tet"

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of outputs [B, C], of the time mean or of one timestep; in float32 at least."""
        logits = full(logits)
        labels = labels if labels.ndim == 1 else labels.to(logits.dtype)
        if self.name == "mse":
            return F.mse_loss(logits, self._targets(logits, labels))
        entropy = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        if not self.mse_weight:
            return entropy
        distance = F.mse_loss(logits, torch.full_like(logits, self.mse_target))
        return (1.0 - self.mse_weight) * entropy + self.mse_weight * distance

    def _targets(self, logits: Tensor, labels: Tensor) -> Tensor:
        classes = logits.shape[1]
        targets = F.one_hot(labels, classes) if labels.ndim == 1 else labels
        return targets.to(logits.dtype) * (1.0 - self.label_smoothing) + self.label_smoothing / classes


CROSS_ENTROPY = Loss()


def full(logits: Tensor) -> Tensor:
    """In float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
