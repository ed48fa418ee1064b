"""What a worker writes about itself: events, the summary, and a heartbeat. Needs no torch, so it starts at once."""

import contextlib
import sys
import threading
import time
from typing import Any

from rbp_engine.run.events import Body, ErrorRaised, EventWriter, Heartbeat, RunEnd, RunStart
from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.status import HEARTBEAT_S
from rbp_engine.run.summary import Summary, write_summary

# Given back when the disk is full, so that the end of the run can still be written down.
RESERVE_BYTES = 256 * 1024


class Journal:
    """Events and summary of one attempt, from any thread of the worker."""

    def __init__(self, run: RunDirectory, summary: Summary, attempt: int) -> None:
        self.run = run
        self.summary = summary
        self.attempt = attempt
        summary.attempt = attempt
        self._events = EventWriter(run.events(), attempt)
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._started = False
        self._reserve = run.control / "reserve"
        try:
            self._reserve.write_bytes(b"\0" * RESERVE_BYTES)
        except OSError:  # what room there is will do for the end; training meets the full disk and says so
            self._reserve.unlink(missing_ok=True)
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()

    def write(self, body: Body, step: int | None = None) -> None:
        """Append an event, by default at the step that the summary stands at."""
        self._events.write(body, self.summary.step if step is None else step)
        self._started = self._started or isinstance(body, RunStart)

    def say(self, text: str) -> None:
        """A line for the log of this process."""
        with contextlib.suppress(OSError):  # a full disk is met, and told, by what matters
            sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def update(self, **changes: Any) -> None:
        """Change fields of the summary and write it."""
        with self._lock:
            for name, value in changes.items():
                setattr(self.summary, name, value)
            write_summary(self.run, self.summary)

    def end(self, status: str, reason: str, traceback: str | None = None) -> None:
        """Write the last word of this attempt, with what a full disk has been keeping back for it."""
        self._ended.set()
        with self._lock:
            self._reserve.unlink(missing_ok=True)
            if traceback is not None:
                self.write(ErrorRaised(reason, traceback))
            self.write(RunEnd(status, reason, self.summary.last, self.summary.best))
            self.update(status=status, reason=reason)
        self.say(f"{status} {reason}".rstrip())
        self._heart.join()
        self._events.close()

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            # A heartbeat that cannot be written is a missing one; training itself meets the full disk and says so.
            with contextlib.suppress(OSError), self._lock:
                if self._started:  # `run_start` is the first event of an attempt; until then the summary tells
                    self.write(Heartbeat())
                write_summary(self.run, self.summary)
