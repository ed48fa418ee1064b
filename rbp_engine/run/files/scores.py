"""Accuracies and losses, as events and summaries hold them: fractions, and None where they are not known."""

from dataclasses import dataclass
from typing import Any

from rbp_engine.codec import Count


class _Numbers:
    """Numbers of which some may not be known."""

    @property
    def known(self) -> dict[str, Any]:
        """The known ones by name."""
        return {name: number for name, number in vars(self).items() if number is not None}


@dataclass(frozen=True)
class Scores(_Numbers):
    """Accuracies (fractions) and loss of training or of an evaluation, after `epoch` epochs; None where unknown.

    `ema_top1` is the top-1 of the moving average of the weights, if the run has one.
    """

    top1: float | None = None
    top5: float | None = None
    loss: float | None = None
    epoch: Count | None = None
    ema_top1: float | None = None


@dataclass(frozen=True)
class Top1ByWeights(_Numbers):
    """The top-1 on the test set after training, by weights, where the epochs were evaluated on held-out data."""

    last: float | None = None
    best: float | None = None
    ema: float | None = None
