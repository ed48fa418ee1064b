"""A run of another program: its settings, and its numbers by name as events and summary, live or from a file."""

import hashlib
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rbp_engine import os_process
from rbp_engine.codec import LARGEST
from rbp_engine.os_process import Process
from rbp_engine.printable import one_line
from rbp_engine.run.files.attempts import AttemptRecord, claim_attempt
from rbp_engine.run.files.events import Body, Event, Metrics, Probe, RunStart, Validation
from rbp_engine.run.files.layout import RunDirectory, new_run_id
from rbp_engine.run.files.summary import IDENTITY, Summary, see
from rbp_engine.run.launch import making
from rbp_engine.run.phase import Phase
from rbp_engine.run.tracking.given import SEED, GivenSettings, Part
from rbp_engine.run.writer import RunWriter, write_run
from rbp_engine.untrusted_files import TEXT_LIMIT, read_untrusted

_METHOD = "tracked"  # in an id, where no method is known


@dataclass(frozen=True)
class Program:
    """What trains a run in rbp's place: its name, its command, and the path of its file, if it is one.

    It trains `here`, in this process, or has trained elsewhere.
    """

    name: str
    command: Sequence[str]
    file: str | None = None
    here: bool = True

    @property
    def identity(self) -> str:
        """Its part of an experiment: its name and, as for the user's code, the hash of its file."""
        try:
            code = read_untrusted(self.file or "", TEXT_LIMIT)
        except OSError:
            return self.name
        return f"{self.name} {hashlib.sha256(code).hexdigest()}"

    @property
    def folder(self) -> Path | None:
        """The folder of its code, where a command that is installed was started; None if it trains elsewhere."""
        if not self.here:
            return None
        file = Path(self.file or "").resolve()
        return file.parent if self.file and not file.is_relative_to(Path(sys.prefix).resolve()) else Path()


def create_foreign(
    settings: GivenSettings,
    program: Program,
    runs: Path,
    run_id: str | None,
    experiment: str,
    record: Callable[[RunDirectory, Summary], Summary] = lambda run, summary: summary,
    **known: Any,
) -> RunDirectory:
    """Create a run whose first attempt is this process, if that trains it; `known` are fields of its summary, as its
    name.

    What is known at once is recorded by `record`, before anybody sees the run, which returns what the summary is then.

    Raises RunError for settings that cannot be kept and for an id that is malformed or taken; RunError or OSError where
    nothing can be written.
    """
    toml, method = settings.toml(), settings.text("method.name")

    def write(run: RunDirectory, named: str) -> None:
        summary = Summary(
            id=one_line(named),
            label=one_line(program.name),
            experiment=one_line(experiment),
            method=one_line(method),
            timesteps=settings.count("method.timesteps"),
            seed=settings.count(SEED) if SEED in settings.values else None,
            epochs=settings.count("train.epochs"),
            program=one_line(program.name),
            host=socket.gethostname() if program.here else "",
        )
        # If not here, then by a process, and on a machine, that nobody knows.
        me, t = (os_process.here(), time.time()) if program.here else (Process(), known.get("created"))
        claim_attempt(run, AttemptRecord(1, me, me, t, command=[*program.command]))
        made = record(run, replace(summary, **known))
        identity = {name: getattr(made, name) for name in IDENTITY}
        write_run(run, toml, settings.sections(), program.command, code=program.folder, **identity)

    called = known.get("name") or Path(program.name).stem
    return making.make_run(runs, run_id, lambda: new_run_id(called, method or _METHOD), write)


@dataclass(frozen=True)
class Logged:
    """Numbers by part: after `step` optimizer steps and `epoch` complete epochs, if known, at a moment in seconds since
    the epoch."""

    t: float
    step: int
    epoch: int | None
    parts: dict[Part, dict[str, float | None]]

    @property
    def count(self) -> int:
        """How many numbers these are."""
        return sum(map(len, self.parts.values()))


class ForeignRun(RunWriter):
    """Turns numbers into events and the summary; events wait in memory until `flush` has written them.

    The steps' durations are those between the numbers, unless nothing is `timed`.
    """

    def __init__(
        self,
        run: RunDirectory,
        summary: Summary,
        start: RunStart,
        *,
        batch: int | None = None,
        t: float | None = None,
        timed: bool = True,
    ) -> None:
        """`batch` is the number of samples in a step, None if it is not known; `t` is when it has begun, else now.

        Raises OSError if the first event cannot be written.
        """
        super().__init__(run, summary)
        self._batch, self._timed = batch, timed
        self._steps_per_epoch = start.steps_per_epoch
        self._waiting = deque[tuple[float, int, Body]]()
        self._last: Logged | None = None  # what the duration of the next steps counts from
        self.say(start, 0, t)
        summary.phase = Phase.TRAINING
        self.flush()
        self.write_summary()

    def say(self, body: Body, step: int | None = None, t: float | None = None) -> None:
        """Let an event wait, by default of now; the summary is in step with it at once."""
        t, step = time.time() if t is None else t, self.summary.step if step is None else step
        see(self.summary, Event(0, t, self.attempt, self.rank, step, body))
        self._waiting.append((t, step, body))

    def flush(self) -> None:
        """Write the events that wait. Raises OSError, and keeps what could not be written."""
        while self._waiting:
            t, step, body = self._waiting[0]
            self.write(body, step, t)
            self._waiting.popleft()

    def add(self, logged: Logged) -> None:
        """Let numbers wait as events."""
        summary, parts = self.summary, logged.parts
        summary.progressed = logged.t
        evaluated = [part for part in (Part.HELD_OUT, Part.TEST) if part in parts]
        epoch = self._epoch(logged, evaluated=bool(evaluated))
        summary.epoch = max(summary.epoch, epoch)
        if Part.TRAINING in parts:
            self._add_training(logged, parts[Part.TRAINING], epoch)
        for part in evaluated:
            self._add_evaluation(logged, part, parts[part], epoch)
        for name, value in parts.get(Part.OWN, {}).items():
            self.say(Probe(one_line(name), value), logged.step, logged.t)
        if evaluated or Part.TRAINING in parts:  # the next steps begin after an evaluation, whose time is not theirs
            self._last = logged

    def _epoch(self, logged: Logged, *, evaluated: bool) -> int:
        if logged.epoch is not None:
            return logged.epoch
        if self._steps_per_epoch:
            return logged.step // self._steps_per_epoch
        return self.summary.epoch + 1 if evaluated else self.summary.epoch

    def _add_training(self, logged: Logged, given: dict[str, float | None], epoch: int) -> None:
        last, times = self._last, dict[str, float | None]()
        if self._timed and last is not None and logged.step > last.step:
            steps, seconds = logged.step - last.step, max(0.0, logged.t - last.t)
            times["trained_s"] = self.summary.trained_s + seconds
            times["step_ms"] = 1000.0 * seconds / steps
            if self._batch and seconds:
                times["samples_per_s"] = self._batch * steps / seconds
        metrics = Metrics(epoch, **{"loss": None, "top1": None, "lr": None} | times | given)
        self.say(metrics, logged.step, logged.t)

    def _add_evaluation(self, logged: Logged, part: Part, given: dict[str, float | None], epoch: int) -> None:
        known: dict[str, Any] = {"loss": None, "top1": None, "top5": None} | given
        known["samples"] = min(int(known.get("samples") or 0), LARGEST - 1)
        self.say(Validation(epoch=epoch, split=one_line(part), **known), logged.step, logged.t)
