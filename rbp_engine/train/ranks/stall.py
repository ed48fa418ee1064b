"""Detect that training has stalled, and dump the stack of each thread once."""

import faulthandler
import os
import time
from pathlib import Path

STDERR = 2


class StallWatch:
    """Checked with every heartbeat, from the heartbeat thread; `log` is the file that stderr goes to."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._progressed = time.monotonic()
        self._reported = False

    def progress(self) -> None:
        """Note that a step, or a batch of an evaluation, is done."""
        self._progressed = time.monotonic()
        self._reported = False

    def check(self, patience_s: float) -> str | None:
        """Write the Python stack of every thread to stderr if there was no progress for longer than `patience_s`.

        Returns a message, once per stall; None otherwise.
        """
        idle = time.monotonic() - self._progressed
        if self._reported or idle <= patience_s:
            return None
        self._reported = True
        os.write(STDERR, f"no step for {idle:.0f} s; every thread of process {os.getpid()}:\n".encode())
        faulthandler.dump_traceback(STDERR)
        return f"no step for {idle:.0f} s; where each thread stands is in {self.log}"
