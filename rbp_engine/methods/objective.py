"""What one training step minimises: a loss with the labels of the batch filled in, as a function of outputs alone.

A share of it may be the distance to the outputs of a trained network (knowledge distillation, Hinton et al., 2015).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.methods.loss import StepLoss, full


@dataclass(frozen=True)
class Distillation:
    """A teacher whose outputs p count for the share w = `weight` of the loss, at the temperature τ:

        (1 − w)·L(o, y) + w·τ²·KL( softmax(p / τ) ‖ softmax(o / τ) )        the mean over the batch

    `teacher` makes logits [B, C] of the images that a step is given; it runs without a graph, on the images as they
    are, augmented and mixed. Raises ValueError for a weight or temperature out of range.
    """

    teacher: Callable[[Tensor], Tensor]
    weight: float = 0.5
    temperature: float = 4.0

    def __post_init__(self) -> None:
        if not 0.0 < self.weight <= 1.0:
            raise ValueError(f"the weight of a teacher is above 0 and at most 1, got {self.weight}")
        if not 0.0 < self.temperature < float("inf"):
            raise ValueError(f"the temperature is above 0, got {self.temperature}")

    def targets(self, images: Tensor) -> Tensor:
        """The teacher's log-probabilities [B, C] of a batch."""
        with torch.no_grad():
            return F.log_softmax(full(self.teacher(images)) / self.temperature, 1)

    def mixed(self, loss: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss with the teacher's share, for logits and targets of the same shape [B, C]."""
        logits = full(logits)
        if logits.shape != targets.shape:
            raise ValueError(
                f"the teacher gives {list(targets.shape)} logits for outputs {list(logits.shape)}: it must have the "
                "same classes"
            )
        own = F.log_softmax(logits / self.temperature, 1)
        distance = F.kl_div(own, targets.to(own.dtype), reduction="batchmean", log_target=True)
        return (1.0 - self.weight) * loss + self.weight * self.temperature**2 * distance


@dataclass(frozen=True)
class Objective:
    """The loss of a batch, and the share of a teacher in it, of which `targets` are the log-probabilities [B, C]."""

    loss: StepLoss
    labels: Tensor
    distill: Distillation | None = None
    targets: Tensor | None = None

    @property
    def at_every_step(self) -> bool:
        """Whether it needs the outputs of every timestep."""
        return self.loss.at_every_step

    def __call__(self, logits: Tensor) -> Tensor:
        """Of outputs [B, C], of the time mean or of one timestep."""
        loss = self.loss(logits, self.labels)
        if self.distill is None or self.targets is None:
            return loss
        return self.distill.mixed(loss, logits, self.targets)

    def of_steps(self, logits: Tensor) -> Tensor:
        """The mean over t, of the outputs of each timestep [T, B, C]: that of a batch of T·B samples."""
        steps = len(logits)
        labels = self.labels.repeat(steps, *[1] * (self.labels.ndim - 1))
        targets = None if self.targets is None else self.targets.repeat(steps, 1)
        return replace(self, labels=labels, targets=targets)(logits.flatten(0, 1))

    def minimised(self, value: Tensor, logits: Tensor) -> Tensor:
        """What the backward pass starts from, of the `value` of these logits, which is the loss that is reported."""
        return value

    def main(self, logits: Tensor) -> Tensor:
        """Of a network's outputs [B, …], the logits [B, C]."""
        return logits
