"""Writes the files of a run that another program trains, from a thread of its own.

The program only hands over numbers. Whatever happens to the disk, training goes on: what cannot be written waits, and
is lost where it waits too long.
"""

import contextlib
import logging
import resource
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import psutil

from rbp_engine.codec import LARGEST
from rbp_engine.printable import one_line, visible
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.event_writer import EventWriter
from rbp_engine.run.files.events import (
    Body,
    ErrorRaised,
    Heartbeat,
    Metrics,
    Probe,
    RunEnd,
    RunStart,
    System,
    Validation,
    WarningRaised,
)
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.reserve import make_reserve, release_reserve
from rbp_engine.run.files.summary import Scores, Summary, write_summary
from rbp_engine.run.phase import Phase
from rbp_engine.run.status.status import HEARTBEAT_S
from rbp_engine.run.tracking.numbers import Part

DRAIN_S = 0.5
#: Events that wait for a disk that cannot be written; the oldest are lost beyond that.
MOST_WAITING = 100_000
#: How long the end waits for a disk that does not answer.
PATIENCE_S = 30.0

log = logging.getLogger("rbp")


@dataclass(frozen=True)
class Logged:
    """The numbers of one call: after `step` optimizer steps, at a moment in seconds since the epoch."""

    t: float
    step: int
    epoch: int | None
    parts: dict[Part, dict[str, float | None]]


class ForeignRecorder:
    """The files of one attempt, of which this process is the only writer."""

    def __init__(
        self, run: RunDirectory, summary: Summary, start: RunStart, *, batch: int | None, steps: int | None
    ) -> None:
        """`batch` is the number of samples in a step, `steps` how many there will be; None if they are not known.

        Raises OSError if the first event cannot be written.
        """
        self.run = run
        self.stop_requested = False
        self._summary = replace(summary, status="running", phase=Phase.TRAINING, steps=steps or 0)
        self._batch = batch
        self._steps_per_epoch = start.steps_per_epoch
        self._waiting: deque[Logged] = deque()
        self._written: deque[tuple[float, int, Body]] = deque([(time.time(), 0, start)])
        self._last: Logged | None = None  # the training that the duration of the next steps counts from
        self._warned: set[str] = set()
        self._ended = threading.Event()
        self._beaten = 0.0
        self._peak = 0
        self._process = psutil.Process()
        self._events = EventWriter(run.events(), 1)
        make_reserve(run, run.reserve())
        self._write_all()
        self._write_summary()
        self._thread = threading.Thread(target=self._work, name="rbp", daemon=True)
        self._thread.start()

    def put(self, logged: Logged) -> None:
        """Hand over numbers; returns at once."""
        self._waiting.append(logged)

    def warn(self, message: str) -> None:
        """Say something about the recording once: to the program's log, and in the run."""
        if message in self._warned:
            return
        self._warned.add(message)
        log.warning("rbp: %s", message)
        self._written.append((time.time(), self._summary.step, WarningRaised(visible(message))))

    def end(self, status: str, reason: str, cause: Cause, traceback: str | None = None) -> None:
        """Write what is waiting and how the attempt has ended."""
        self._ended.set()
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self.warn(f"{self.run.path} does not answer: the end of the run is not recorded")
            return
        release_reserve(self.run, self.run.reserve())
        self._take()
        summary, now = self._summary, time.time()
        if traceback is not None:
            self._written.append((now, summary.step, ErrorRaised(visible(reason), visible(traceback), cause=cause)))
        end = RunEnd(status, visible(reason), cause, summary.last.known, summary.best.known)
        self._written.append((now, summary.step, end))
        self._summary = replace(summary, status=status, reason=visible(reason), cause=cause, phase=Phase.NONE)
        for write in (self._write_all, self._write_summary, self._events.close):
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
        beats = now - self._beaten >= HEARTBEAT_S
        if beats:
            self._beaten = now
            self._written.append((time.time(), self._summary.step, self._system()))
            self._written.append((time.time(), self._summary.step, Heartbeat()))
        took = self._take()
        self._write_all()
        if beats or took:
            self._write_summary()

    def _take(self) -> bool:
        """Turn what was handed over into events and the summary; whether there was anything."""
        took = False
        while self._waiting:
            self._add(self._waiting.popleft())
            took = True
        return took

    def _add(self, logged: Logged) -> None:
        summary = self._summary
        summary.progressed = logged.t
        summary.step = max(summary.step, logged.step)
        training = logged.parts.get(Part.TRAINING)
        evaluated = [part for part in (Part.HELD_OUT, Part.TEST) if part in logged.parts]
        epoch = self._epoch(logged, evaluated=bool(evaluated))
        if training is not None:
            self._add_training(logged, training, epoch)
        for part in evaluated:
            self._add_evaluation(logged, part, logged.parts[part], epoch)
        for name, value in logged.parts.get(Part.OWN, {}).items():
            self._say(logged, Probe(one_line(name), value))
        # The time of an evaluation is not that of the next steps.
        self._last = logged if training is not None and not evaluated else None if evaluated else self._last
        while len(self._written) > MOST_WAITING:
            self._written.popleft()

    def _epoch(self, logged: Logged, *, evaluated: bool) -> int:
        summary = self._summary
        if logged.epoch is not None:
            epoch = logged.epoch
        elif self._steps_per_epoch:
            epoch = logged.step // self._steps_per_epoch
        else:
            epoch = summary.epoch + 1 if evaluated else summary.epoch
        summary.epoch = max(summary.epoch, epoch)
        return epoch

    def _add_training(self, logged: Logged, given: dict[str, float | None], epoch: int) -> None:
        summary, last = self._summary, self._last
        if last is not None and logged.step > last.step:
            steps, seconds = logged.step - last.step, max(0.0, logged.t - last.t)
            summary.trained_s += seconds
            given.setdefault("step_ms", 1000.0 * seconds / steps)
            if self._batch and seconds:
                given.setdefault("samples_per_s", self._batch * steps / seconds)
        for name in ("loss", "top1", "lr"):
            given.setdefault(name, None)
        metrics = Metrics(epoch=epoch, **given)
        summary.train = Scores(metrics.top1, loss=metrics.loss)
        summary.step_ms = metrics.step_ms or summary.step_ms
        summary.samples_per_s = metrics.samples_per_s or summary.samples_per_s
        self._say(logged, metrics)

    def _add_evaluation(self, logged: Logged, part: Part, given: dict[str, float | None], epoch: int) -> None:
        known: dict[str, Any] = {"loss": None, "top1": None, "top5": None} | given
        known["samples"] = min(int(known.get("samples") or 0), LARGEST - 1)
        self._say(logged, Validation(epoch=epoch, split=one_line(part), **known))
        summary = self._summary
        top1 = known["top1"]
        summary.last = Scores(top1, known["top5"], known["loss"])
        if top1 is not None and (summary.best.top1 is None or top1 > summary.best.top1):
            summary.best = Scores(top1, epoch=epoch)

    def _say(self, logged: Logged, body: Body) -> None:
        self._written.append((logged.t, logged.step, body))

    def _write_all(self) -> None:
        """Write the events that wait. Raises OSError, and keeps those that could not be written."""
        while self._written:
            t, step, body = self._written[0]
            self._events.write(body, step, now=t)
            self._written.popleft()

    def _write_summary(self) -> None:
        write_summary(self.run, self._summary)

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
        self._summary.mem_peak = system.mem_peak
        return system
