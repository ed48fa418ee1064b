"""Notice that training stands still, and write down once where it stands."""

import faulthandler
import os
import time
from pathlib import Path

STDERR = 2


class StallWatch:
    """Looked at with every heartbeat, from a thread of its own; `log` is the file that stderr goes into."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._progressed = time.monotonic()
        self._told = False

    def progress(self) -> None:
        """A step has been done, or a batch of an evaluation."""
        self._progressed = time.monotonic()
        self._told = False

    def look(self, patience_s: float) -> str | None:
        """Write the Python stack of every thread into stderr if nothing has been done for longer than that.

        Once for each stall: a sentence that says so, else None.
        """
        idle = time.monotonic() - self._progressed
        if self._told or idle <= patience_s:
            return None
        self._told = True
        os.write(STDERR, f"no step for {idle:.0f} s; every thread of process {os.getpid()}:\n".encode())
        faulthandler.dump_traceback(STDERR)
        return f"no step for {idle:.0f} s; where each thread stands is in {self.log}"
