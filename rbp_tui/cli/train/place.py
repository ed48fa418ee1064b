"""Where a live run is, in words: epoch and step, and what it does when it is not training."""

import time

from rbp_engine.run.files.summary import Summary
from rbp_engine.run.phase import Phase
from rbp_tui.text import format as fmt


def place(summary: Summary) -> str:
    """The newest step of a run in its epoch, both counted from 1; empty before its number of steps is known."""
    steps = summary.steps_per_epoch
    if not steps or not summary.epochs:
        return ""
    before = max(0, summary.step - 1) // steps
    return f"epoch {before + 1}/{summary.epochs}, step {summary.step - before * steps}/{steps}"


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
