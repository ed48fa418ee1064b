"""What a worker writes about itself: events, the summary, and a heartbeat. Needs no torch, so it starts at once."""

import contextlib
import os
import sys
import threading
import time
from typing import Any

from rbp_engine.run.cause import Cause
from rbp_engine.run.files.events import Body, ErrorRaised, EventWriter, Heartbeat, RunEnd, RunStart, WarningRaised
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.records import see_to_record
from rbp_engine.run.files.summary import Summary, write_summary
from rbp_engine.run.status.status import HEARTBEAT_S, stall_patience_s
from rbp_engine.train.ranks.process import Process
from rbp_engine.train.ranks.stall import StallWatch

# Given back when the disk is full, so that the end of the run can still be written down.
RESERVE_BYTES = 256 * 1024


class Journal:
    """Events and summary of one attempt, from any thread of the worker.

    Every rank writes events of its own; the summary on disk is that of rank 0.
    """

    def __init__(self, run: RunDirectory, summary: Summary, attempt: int, process: Process | None = None) -> None:
        process = process or Process(run.stdout().parent)
        self.run = run
        self.summary = summary
        self.attempt = attempt
        self.rank = process.rank
        summary.attempt = attempt
        self._events = EventWriter(run.events(self.rank), attempt, self.rank)
        self._watch = StallWatch(process.logs / "stderr.log")
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._started = False
        # Of several nodes, each has its launcher on record by itself.
        self._on_record = process.rank != 0 or process.nodes > 1
        self._started_as = os.getppid() if process.world_size > 1 else os.getpid()
        self._reserve = run.reserve(self.rank)
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

    def sync(self) -> None:
        """Force the events so far onto the disk."""
        self._events.sync()

    def say(self, text: str) -> None:
        """A line for the log of this process."""
        with contextlib.suppress(OSError):  # a full disk is met, and told, by what matters
            sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def progress(self) -> None:
        """A step has been done, or a batch of an evaluation: the run is not stalled."""
        self.summary.progressed = time.time()
        self._watch.progress()

    def look_for_stall(self, patience_s: float) -> None:
        """Warn, once, if there was no progress for longer than that, and say where each thread stands."""
        if told := self._watch.look(patience_s):
            self.write(WarningRaised(told))

    def update(self, **changes: Any) -> None:
        """Change fields of the summary and write it."""
        with self._lock:
            for name, value in changes.items():
                setattr(self.summary, name, value)
            self._write_summary()

    def end(self, status: str, reason: str, cause: Cause = Cause.UNKNOWN, traceback: str | None = None) -> None:
        """Write the last word of this attempt, with what a full disk has been keeping back for it.

        How the run has ended is for rank 0 to say; the others tell their own errors only.
        """
        self._ended.set()
        with self._lock:
            self._give_reserve_back()
            if traceback is not None:
                self.write(ErrorRaised(reason, traceback, cause=cause))
            if self.rank == 0:
                self.write(RunEnd(status, reason, cause, self.summary.last, self.summary.best))
            self.update(status=status, reason=reason, cause=cause)
        self.say(f"{status} {reason}".rstrip())
        self._leave()

    def leave(self, why: str, traceback: str) -> None:
        """Go because another process is gone, without a word on how the run has ended: that one knows."""
        self._ended.set()
        with self._lock:
            self._give_reserve_back()
            self.write(ErrorRaised(why, traceback, about_others=True, cause=Cause.LOST_PROCESS))
        self._leave()

    def _give_reserve_back(self) -> None:
        with contextlib.suppress(OSError):  # where nothing can be removed, the events may still take a word
            self._reserve.unlink(missing_ok=True)

    def _leave(self) -> None:
        self._heart.join()
        self._events.close()

    def _write_summary(self) -> None:
        if self.rank == 0:
            write_summary(self.run, self.summary)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            # A heartbeat that cannot be written is a missing one; training itself meets the full disk and says so.
            with contextlib.suppress(OSError), self._lock:
                self._on_record = self._on_record or see_to_record(self.run, self.attempt, self._started_as)
                if self._started:  # `run_start` is the first event of an attempt; until then the summary tells
                    self.write(Heartbeat())
                self._write_summary()
                if self.summary.status == "running":
                    self.look_for_stall(stall_patience_s(self.summary))
