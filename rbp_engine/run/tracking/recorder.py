"""Records a training loop from a thread of its own: the program only hands over numbers.

Whatever happens to the disk, training goes on: what cannot be written waits, and is lost where it waits too long.
"""

import contextlib
import logging
import resource
import sys
import threading
import time
from collections import deque
from dataclasses import replace

import psutil

from rbp_engine.printable import visible
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.events import Heartbeat, System, WarningRaised
from rbp_engine.run.status.status import HEARTBEAT_S
from rbp_engine.run.tracking.foreign import ForeignRun, Logged

DRAIN_S = 0.5
#: How long the end waits for a disk that does not answer.
PATIENCE_S = 30.0

log = logging.getLogger("rbp")


class TrackRecorder:
    """Writes what is put, and heartbeats; this process is the only writer of the run."""

    def __init__(self, writer: ForeignRun) -> None:
        self.run = writer.run
        self.stop_requested = False
        self._writer = writer
        self._put: deque[Logged] = deque()
        self._warned: set[str] = set()
        self._ended = threading.Event()
        self._beaten = 0.0
        self._peak = 0
        self._process = psutil.Process()
        self._thread = threading.Thread(target=self._work, name="rbp", daemon=True)
        self._thread.start()

    def put(self, logged: Logged) -> None:
        """Hand over numbers; returns at once."""
        self._put.append(logged)

    def warn(self, message: str) -> None:
        """Say something about the recording once: to the program's log, and in the run."""
        if message in self._warned:
            return
        self._warned.add(message)
        log.warning("rbp: %s", message)
        self._writer.say(WarningRaised(visible(message)))

    def end(self, status: str, reason: str, cause: Cause, traceback: str | None = None) -> None:
        """Write what is waiting and how the attempt has ended."""
        self._ended.set()
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self.warn(f"{self.run.path} does not answer: the end of the run is not recorded")
            return
        writer = self._writer
        writer.release()
        self._take()
        for write in (writer.flush, lambda: writer.end(status, reason, cause, traceback), writer.events.close):
            try:
                write()
            except OSError as error:
                self.warn(f"the end of {self.run.id} cannot be written: {error.strerror or error}")

    def _work(self) -> None:
        while not self._ended.wait(DRAIN_S):
            try:
                self._tend()
            except Exception as error:  # training must not notice
                why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
                self.warn(f"{self.run.id} cannot be written ({why}); training goes on, and is recorded once it can be")

    def _tend(self) -> None:
        self.stop_requested = self.stop_requested or self.run.stop_request.exists()
        now = time.monotonic()
        if now - self._beaten >= HEARTBEAT_S:
            self._beaten = now
            self._writer.say(self._system())
            self._writer.say(Heartbeat())
        self._take()
        self._writer.flush()

    def _take(self) -> None:
        """Turn what was handed over into events."""
        while self._put:
            self._writer.add(self._put.popleft())

    def _system(self) -> System:
        rss = self._process.memory_info().rss
        self._peak = max(self._peak, rss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        system = System(rss=rss, mem_peak=self._peak)
        torch = sys.modules.get("torch")
        with contextlib.suppress(Exception):  # whatever the state of the program's torch
            if torch is not None and torch.cuda.is_initialized():
                cuda = torch.cuda
                allocated, reserved, peak = (
                    read() for read in (cuda.memory_allocated, cuda.memory_reserved, cuda.max_memory_allocated)
                )
                system = replace(system, mem_allocated=allocated, mem_reserved=reserved, mem_peak=peak)
        return system
