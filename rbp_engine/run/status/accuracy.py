"""The accuracy after each timestep over training, as arrays, built from the evaluations of a run as they arrive."""

from dataclasses import dataclass

import numpy as np

from rbp_engine.run.files.events import Event, RunStart, Validation, superseded
from rbp_engine.run.status.curves import Floats


@dataclass(frozen=True, eq=False)
class AccuracyHistory:
    """The N evaluations of a run on `split`, the oldest first: `top1` [N, T] after the first t timesteps, t = 1 … T."""

    split: str
    step: Floats
    epoch: Floats
    top1: Floats

    def at(self, step: float) -> int:
        """The number of the evaluation nearest to a step."""
        return int(np.abs(self.step - step).argmin())


class AccuracyBuilder:
    """Collects the evaluations after each epoch, of the last weights; `history()` is a snapshot.

    After training on held-out data there is one more on the test set, which is left out, as damaged ones are.
    """

    def __init__(self) -> None:
        self._split = ""
        self._kept: list[tuple[Event, int, Floats]] = []
        self._made: AccuracyHistory | None = None

    def add(self, event: Event) -> None:
        """Add the next event; the start of an attempt drops what it repeats."""
        body = event.body
        if isinstance(body, Validation):
            self._split = self._split or body.split
            if body.weights == "last" and body.split == self._split:
                self._evaluation(event, body)
        elif isinstance(body, RunStart) and event.rank == 0:
            self._kept = [kept for kept in self._kept if not superseded(kept[0], event, body)]
            self._made = None

    def _evaluation(self, event: Event, body: Validation) -> None:
        try:
            top1 = np.array(body.top1_by_step, dtype=float)
        except (ValueError, TypeError, OverflowError):
            return
        if top1.ndim != 1 or not len(top1) or (self._kept and top1.shape != self._kept[-1][2].shape):
            return
        self._kept.append((event, body.epoch, top1))
        self._made = None

    def history(self) -> AccuracyHistory | None:
        """Everything so far; None without an evaluation that has accuracies by timestep."""
        if self._made is None and self._kept:
            step, epoch = (
                np.array(numbers, dtype=float)
                for numbers in zip(*((event.step, epoch) for event, epoch, _ in self._kept), strict=True)
            )
            self._made = AccuracyHistory(self._split, step, epoch, np.stack([top1 for _, _, top1 in self._kept]))
        return self._made if self._kept else None
