"""Early stop: when epochs have not improved a score for long enough."""

from collections.abc import Mapping
from dataclasses import dataclass

# Scores are quotients: 0.901 − 0.9 must not be less than 0.001.
_ROUNDING = 1e-9


@dataclass
class EarlyStop:
    """The best score so far, a fraction, and the epoch that reached it.

    A score counts as better if it is so by `delta` at least. With `patience` 0 there is always more to hope for.
    """

    patience: int = 0
    delta: float = 0.0
    best: float | None = None
    epoch: int = 0

    def add(self, epoch: int, score: float) -> None:
        """Note the score after so many epochs."""
        if self.best is None or (score > self.best and score - self.best >= self.delta - _ROUNDING):
            self.best, self.epoch = score, epoch

    def is_due(self, epoch: int) -> bool:
        """Whether, after so many epochs, `patience` of them have improved nothing."""
        return self.best is not None and 0 < self.patience <= epoch - self.epoch

    def state(self) -> dict[str, float | int | None]:
        """What a checkpoint keeps."""
        return {"best": self.best, "epoch": self.epoch}

    def restore(self, state: Mapping[str, float | int | None]) -> None:
        """Continue from what `state` returned."""
        self.best, self.epoch = state["best"], int(state["epoch"] or 0)
