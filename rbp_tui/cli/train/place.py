"""Where a live run is, in words: epoch and step, and what it does when it is not training."""

import time
from dataclasses import dataclass

from rbp_engine.run.files.summary import Summary
from rbp_engine.run.phase import Phase
from rbp_tui.text import format as fmt


@dataclass(frozen=True)
class Place:
    """Step `step` of `steps` of epoch `epoch`, both counted from 1; step 0 before the first."""

    epoch: int
    step: int
    steps: int


def place(summary: Summary) -> Place | None:
    """The newest step of a run; None before its number of steps is known."""
    if not summary.steps or not summary.epochs:
        return None
    steps = max(1, summary.steps // summary.epochs)
    before = max(0, summary.step - 1) // steps
    return Place(before + 1, summary.step - before * steps, steps)


class PhaseClock:
    """What a run does besides training, and for how long that has been seen."""

    def __init__(self) -> None:
        self._phase = ""
        self._since = time.monotonic()

    def text(self, summary: Summary) -> str:
        """As "compiling, 12s so far"; empty while it trains, or if its phase is not known."""
        if summary.phase != self._phase:
            self._phase, self._since = summary.phase, time.monotonic()
        if self._phase in (Phase.NONE, Phase.TRAINING):
            return ""
        passed = time.monotonic() - self._since
        # Most phases last less than this: a number would only flicker.
        return f"{self._phase}, {fmt.duration(passed)} so far" if passed >= 2.0 else str(self._phase)
