"""What one training step minimises: a loss with the labels of the batch filled in, as a function of outputs alone."""

from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from rbp_engine.methods.distillation import Distillation


class StepLoss(Protocol):
    """A loss of outputs and labels; `Loss` and `OwnLoss` are."""

    @property
    def name(self) -> str: ...

    @property
    def at_every_step(self) -> bool:
        """Whether it is a mean over timesteps, and not a loss of the mean output."""
        ...

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over the batch of the loss of outputs [B, C], of the time mean or of one timestep."""
        ...


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
