"""The worker's events, summary and heartbeat. Without torch, so that they start at once."""

import contextlib
import os
import sys
import threading
import time
from typing import Any

from rbp_engine.printable import NO_TEXT, visible
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.attempts import record_process
from rbp_engine.run.files.events import Body, ErrorRaised, Event, Heartbeat, RunStart, WarningRaised
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary, see
from rbp_engine.run.queue.hooks import start_alert_hook
from rbp_engine.run.status.status import HEARTBEAT_S, stall_patience_s
from rbp_engine.run.writer import RunWriter
from rbp_engine.train.errors import Superseded
from rbp_engine.train.ranks.process import RankProcess
from rbp_engine.train.ranks.stall import StallWatch
from rbp_engine.train.record.alert_watch import AlertWatch


class Journal(RunWriter):
    """Writes events and summary of one attempt, from any thread of the worker.

    Every rank writes its own events; only rank 0 writes the summary. Anything that writes raises Superseded once there
    is a newer attempt, for example on another host while this one was frozen and taken for lost.
    """

    def __init__(self, run: RunDirectory, summary: Summary, attempt: int, process: RankProcess | None = None) -> None:
        process = process or RankProcess(run.stdout().parent)
        super().__init__(run, summary, attempt, process.rank)
        summary.attempt, summary.alert = attempt, NO_TEXT
        #: Sees the events that are written; its alerts about them follow.
        self.alerts: AlertWatch | None = None
        self._watch = StallWatch(process.logs / "stderr.log")
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._started = False
        if process.rank == 0 and process.nodes == 1:  # with several nodes, each records its own launcher
            with contextlib.suppress(OSError, RunError):  # if the starter was killed before it could
                record_process(run, attempt, os.getppid() if process.world_size > 1 else os.getpid())
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()

    def write(self, body: Body, step: int | None = None, t: float | None = None) -> Event:
        """Append an event, by default at the step in the summary, and the alerts about it."""
        self._look()
        step = self.summary.step if step is None else step
        event = super().write(body, step, t)
        see(self.summary, event)
        self._started = self._started or isinstance(body, RunStart)
        for alert in self.alerts.see(body, self.summary.epoch, step) if self.alerts else ():
            see(self.summary, super().write(alert, step))
            self.say(f"alert: {alert.message}")
            self.update()
            start_alert_hook(self.run, self.attempt, alert)
        return event

    def write_first(self, body: Body, step: int | None = None) -> None:
        """`write` on rank 0; the other ranks keep their summary in step with its events."""
        if self.rank == 0:
            self.write(body, step)
        else:
            step = self.summary.step if step is None else step
            see(self.summary, Event(0, time.time(), self.attempt, 0, step, body))

    def sync(self) -> None:
        """Flush the events so far to the disk, before a checkpoint."""
        self._look()
        self.events.sync()

    def say(self, text: str) -> None:
        """Write a line to the log of this process."""
        with contextlib.suppress(OSError):  # more important writes will hit the full disk and report it
            sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def progress(self) -> None:
        """Note that a step, or a batch of an evaluation, is done: the run is not stalled."""
        self.summary.progressed = time.time()
        self._watch.progress()

    def check_for_stall(self, patience_s: float) -> None:
        """Warn once if there was no progress for longer than `patience_s`, and dump the stack of each thread."""
        if stall := self._watch.check(patience_s):
            self.write(WarningRaised(visible(stall)))

    def update(self, **changes: Any) -> None:
        """Change fields of the summary and write it."""
        with self._lock:
            for name, value in changes.items():
                setattr(self.summary, name, value)
            self.write_summary()

    def end(
        self,
        status: str,
        reason: str = "",
        cause: Cause = Cause.UNKNOWN,
        traceback: str | None = None,
        t: float | None = None,
    ) -> None:
        """Record the end of this attempt, on a full disk in the reserved space.

        Rank 0 records how the run has ended; the others only their own errors.
        """
        self._ended.set()
        with self._lock:
            self._look()
            super().end(status, reason, cause, traceback, t)
        self.say(f"{status} {reason}".rstrip())
        self._leave()

    def leave(self, why: str, traceback: str) -> None:
        """Record that another process is gone, but not how the run has ended: that process knows."""
        self._ended.set()
        with self._lock:
            self._look()
            self.release()
            self.write(ErrorRaised(visible(why), visible(traceback), about_others=True, cause=Cause.LOST_PROCESS))
        self._leave()

    @property
    def superseded(self) -> bool:
        """Whether the run has been started again since. Raises OSError if that is not known."""
        return inside.exists(self.run.attempt(self.attempt + 1), self.run.path)

    def abandon(self) -> None:
        """Leave the run to its newer attempt."""
        self._ended.set()
        self.say(f"attempt {self.attempt} ends here: the run was started again meanwhile, and this writes nothing more")
        self._leave()

    def _look(self) -> None:
        if self.superseded:
            raise Superseded(f"attempt {self.attempt + 1} of the run has been started")

    def _leave(self) -> None:
        self._heart.join()
        self.events.close()

    def write_summary(self) -> None:
        self._look()
        if self.rank == 0:
            super().write_summary()

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            # If a heartbeat cannot be written, it is missing; training itself will hit the full disk and report it.
            with contextlib.suppress(OSError, Superseded), self._lock:
                self._look()
                if self._started:  # `run_start` must be the first event; until then the summary is the heartbeat
                    self.write(Heartbeat())
                self.write_summary()
                if self.summary.status == "running":
                    self.check_for_stall(stall_patience_s(self.summary))
