"""`rbp_engine.run.track`: another program's training loop as a run, with the files that every run has.

The program only hands over numbers; a thread records them. A loop that is faster waits for it. Whatever happens to the
disk, training goes on: what cannot be written waits, and where that becomes too much, the oldest is lost, and counted.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any, NoReturn

from rbp_engine.os_process import resident
from rbp_engine.printable import one_line, visible
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.events import AlertRaised, Heartbeat, RunStart, System, WarningRaised
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.stop_request import read_stop_request
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.status.status import HEARTBEAT_S
from rbp_engine.run.tracking.foreign import ForeignRun, Logged, Program, create_foreign
from rbp_engine.run.tracking.given import Part, given_settings, sort_numbers, whole_number
from rbp_engine.settings.machine import runs_directory

log = logging.getLogger("rbp")

#: Numbers that wait to be written, and how long the loop waits for a disk that takes none of them.
MOST_WAITING = 100_000
STALL_S = 5.0
DRAIN_S = 0.5
#: How long the end waits for a disk that does not answer.
PATIENCE_S = 30.0


class TrackedRun:
    """A run that this program trains. It takes numbers also where nothing is recorded: other processes, no disk.

    `id` and `folder` are those of the run; empty and None if it is not recorded here. A thread writes what is logged,
    and heartbeats; this process is the only writer of the run.
    """

    def __init__(self, writer: ForeignRun | None) -> None:
        self.id = writer.run.id if writer else ""
        self.folder: Path | None = writer.run.path if writer else None
        self._writer = writer
        self._process = os.getpid()
        self._step = 0
        self._logged: deque[Logged] = deque()
        self._room = threading.Condition()  # guards what follows
        # Counts of numbers: not written yet, of these in the writer's hands, and lost since that was last reported.
        self._waiting = self._taken = self._lost = 0
        self._stuck = ""  # why nothing can be written now
        self._warned: set[str] = set()
        self._asked_to_stop = self._heeds_stop = False
        self._ended = threading.Event()
        self._beaten = 0.0
        self._thread = threading.Thread(target=self._work, args=(writer,), name="rbp", daemon=True)
        if writer is not None:
            self._thread.start()

    def log(
        self,
        values: Mapping[Any, Any] | None = None,
        /,
        *,
        step: int | None = None,
        epoch: int | None = None,
        **more: Any,
    ) -> None:
        """Record numbers by name: `log(loss=0.3)`, `log({"val/loss": 0.4, "val/top1": 0.9}, epoch=3)`.

        `step` counts optimizer steps; without it, every call with a number of training counts as one. `epoch` counts
        complete epochs. Accuracies are fractions from 0 to 1. A tensor of one number is fetched once. Never raises for
        what it is given, nor if it cannot be written, and does nothing in a process that was forked.
        """
        writer = self._writer
        if writer is None or os.getpid() != self._process:
            return
        try:
            sorted_ = sort_numbers({**(values or {}), **more})
            for name, why in sorted_.refused.items():
                self._warn(writer, f"log({name}): {why}")
            if not sorted_.parts:
                return
            if step is None:
                self._step += Part.TRAINING in sorted_.parts
            else:
                self._step = max(self._step, whole_number("step", int(step)))
            reached = None if epoch is None else whole_number("epoch", int(epoch))
            self._put(writer, Logged(time.time(), self._step, reached, sorted_.parts))
        except Exception as error:  # a logger does not end what it logs
            self._warn(writer, f"log: {type(error).__name__}: {error}")

    def _put(self, writer: ForeignRun, logged: Logged) -> None:
        """Let numbers wait to be written: for room while there is progress, else in the place of the oldest."""
        with self._room:
            if not self._room.wait_for(lambda: self._stuck or self._waiting < MOST_WAITING, STALL_S):
                self._stuck = f"its disk has not answered for {STALL_S:g} s"
                self._warn(writer, f"{self.id}: {self._stuck}; training goes on, and is recorded once it can be")
            self._logged.append(logged)
            self._waiting += logged.count
            while self._waiting > MOST_WAITING and self._logged[0] is not logged and self._stuck:
                lost = self._logged.popleft().count
                self._waiting -= lost
                self._lost += lost

    @property
    def stop_requested(self) -> bool:
        """Whether `rbp stop`, or the dashboard, has asked the run to end; noticed within half a second.

        A loop that looks at it saves what it wants to and breaks.
        """
        self._heeds_stop = self._writer is not None and self._asked_to_stop
        return self._heeds_stop

    def _warn(self, writer: ForeignRun, message: str) -> None:
        """Say something about the recording once: to the program's log, and in the run."""
        if message in self._warned:
            return
        self._warned.add(message)
        log.warning("rbp: %s", message)
        writer.say(WarningRaised(visible(message)))

    def _end(self, error: BaseException | None) -> None:
        """Record how the block has ended, in the process that began it."""
        writer, self._writer = self._writer, None
        if writer is None or os.getpid() != self._process:
            return
        try:
            self._record_end(writer, *_how(writer.run, error, heeds_stop=self._heeds_stop))
        except Exception as fault:  # a logger does not end what it logs
            log.warning("rbp: the end of %s is not recorded: %s: %s", self.id, type(fault).__name__, fault)

    def _record_end(self, writer: ForeignRun, status: str, reason: str, cause: Cause, trace: str | None) -> None:
        """Write what is waiting and how the attempt has ended."""
        self._ended.set()
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self._warn(writer, f"{self.folder} does not answer: the end of the run is not recorded")
            return
        try:
            self._take(writer)
        except OSError as error:
            self._stuck, self._lost = error.strerror or str(error), self._lost + self._waiting
            self._tell(writer)
        why = "; ".join(filter(None, (reason, writer.summary.alert)))
        for write in (writer.flush, lambda: writer.end(status, why, cause, trace), writer.events.close):
            try:
                write()
            except OSError as error:
                self._warn(writer, f"the end of {self.id} cannot be written: {error.strerror or error}")

    def _work(self, writer: ForeignRun) -> None:
        while not self._ended.wait(0.0 if self._logged and not self._stuck else DRAIN_S):
            try:
                self._tend(writer)
            except Exception as error:  # training must not notice
                why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
                with self._room:
                    self._stuck = why
                    self._room.notify_all()
                self._warn(
                    writer, f"{self.id} cannot be written ({why}); training goes on, and is recorded once it can be"
                )

    def _tend(self, writer: ForeignRun) -> None:
        self._asked_to_stop = self._asked_to_stop or writer.run.stop_request.exists()
        now = time.monotonic()
        beat = now - self._beaten >= HEARTBEAT_S
        if self._logged or beat:
            self._take(writer)
            if beat:
                self._beaten = now
                writer.say(_system())
                writer.say(Heartbeat())
                writer.flush()
            writer.write_summary()

    def _take(self, writer: ForeignRun) -> None:
        """Write what was logged, for DRAIN_S unless it is the end. Raises OSError, and keeps what cannot be written."""
        until = time.monotonic() + DRAIN_S
        while True:
            writer.flush()
            with self._room:
                self._waiting -= self._taken
                self._tell(writer)
                self._taken, self._stuck = 0, ""
                self._room.notify_all()
                if not self._logged or (time.monotonic() > until and not self._ended.is_set()):
                    return
                logged = self._logged.popleft()
                self._taken = logged.count
            writer.add(logged)

    def _tell(self, writer: ForeignRun) -> None:
        """Report what was lost since this was last done."""
        if self._lost:
            message = f"{self._lost:,} numbers are lost: {self._stuck}"
            log.warning("rbp: %s", message)
            writer.say(AlertRaised(one_line("recording"), self._lost, visible(message)))
            self._lost = 0


class _Terminated(SystemExit):
    """SIGTERM has come to a program that does not handle it itself."""


@contextlib.contextmanager
def track(
    settings: Mapping[Any, Any] = MappingProxyType({}),
    *,
    name: str = "",
    tags: Sequence[str] = (),
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    steps: int | None = None,
    run_id: str | None = None,
    runs_dir: str | Path | None = None,
) -> Iterator[TrackedRun]:
    """Record this program's training as a run: `with rbp_engine.run.track({"lr": 0.1}, epochs=10) as run:`.

    `settings` are any. `epochs`, `steps_per_epoch` and `steps` (in all) are what is planned, as far as it is known:
    from them come the progress and the time left. The run is in `runs_dir`, by default the runs directory of the
    commands, under `run_id` or a new id.

    Its end is that of the block: `completed`, `stopped` after a stop request that the loop has seen or Ctrl-C,
    `preempted` after SIGTERM, `failed` after an exception, which goes on as without rbp. In a job of several processes
    (RANK, or SLURM_PROCID, is not 0) only the first records.

    Raises RunError for what cannot be a run. If nothing can be written, now or later, a warning says so once, and
    training goes on.
    """
    planned = _planned(epochs=epochs, steps_per_epoch=steps_per_epoch, steps=steps)
    runs = runs_directory(None if runs_dir is None else Path(runs_dir))
    known = {
        "name": one_line(name),
        "tags": [one_line(str(tag)) for tag in ([tags] if isinstance(tags, str) else tags)],
    }
    run = TrackedRun(_writer(settings, known, runs, run_id, **planned) if _is_first() else None)
    before = _raise_at_sigterm() if run.id else None
    try:
        yield run
    except BaseException as error:
        run._end(error)
        raise
    else:
        run._end(None)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _planned(**given: Any) -> dict[str, int | None]:
    """The same as whole numbers, as far as they are given. Raises RunError for anything else."""
    planned = {name: None if value is None else whole_number(name, value) for name, value in given.items()}
    whole_number("steps_per_epoch * epochs", (planned["steps_per_epoch"] or 0) * (planned["epochs"] or 0))
    return planned


def _writer(
    settings: Mapping[Any, Any],
    known: dict[str, Any],
    runs: Path,
    run_id: str | None,
    *,
    epochs: int | None,
    steps_per_epoch: int | None,
    steps: int | None,
) -> ForeignRun | None:
    """The writer of a new run of this program; None, with a warning, if it cannot be written.

    `known` are fields of its summary. Of what is planned, the epochs are those that the settings do not say.
    """
    program = Program(
        one_line(Path(sys.argv[0] if sys.argv else "").name or "python"),
        [sys.executable, *sys.argv],
        getattr(sys.modules["__main__"], "__file__", None),
    )
    try:
        given = given_settings(settings)
        known |= {"epochs": epochs} if epochs else {}
        run = create_foreign(given, program, runs, run_id, given.experiment(program.identity), **known)
        summary = load_summary(run)
        if steps_per_epoch is None and steps and summary.epochs:
            steps_per_epoch = max(1, steps // summary.epochs)
        start = RunStart(
            device=_device(),
            host=one_line(socket.gethostname()),
            steps_per_epoch=steps_per_epoch,
            epochs=summary.epochs or None,
            steps=steps,
            method=one_line(summary.method),
        )
        batch = given.count("data.batch_size") or None
        return ForeignRun(run, summary, start, batch=batch)
    except (RunError, OSError) as error:
        if isinstance(error, RunError) and not isinstance(error.__cause__, OSError):
            raise
        log.warning("rbp: this run is not recorded: %s", error)
        return None


def _is_first() -> bool:
    """Whether this is the process of a job that records: the only one, or rank 0."""
    for rank, several in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        if os.environ.get(several, "1") not in ("", "1"):
            return os.environ.get(rank, "0") == "0"
    return True


def _device() -> Any:
    torch = sys.modules.get("torch")
    with contextlib.suppress(Exception):
        if torch is not None and torch.cuda.is_initialized():
            return one_line(torch.cuda.get_device_name())
    return one_line("cpu")


def _system() -> System:
    rss, most = resident()
    system = System(rss=rss, mem_peak=max(rss, most))
    torch = sys.modules.get("torch")
    with contextlib.suppress(Exception):  # whatever the state of the program's torch
        if torch is not None and torch.cuda.is_initialized():
            cuda = torch.cuda
            allocated, reserved, peak = (
                read() for read in (cuda.memory_allocated, cuda.memory_reserved, cuda.max_memory_allocated)
            )
            system = replace(system, mem_allocated=allocated, mem_reserved=reserved, mem_peak=peak)
    return system


def _raise_at_sigterm() -> Any:
    """Let SIGTERM unwind the block, if the program does not handle it; the handler before, None if none is set."""
    if threading.current_thread() is not threading.main_thread():
        return None
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return None
    return signal.signal(signal.SIGTERM, _terminated)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)  # a second one ends at once
    raise _Terminated(128 + number)


def _how(run: RunDirectory, error: BaseException | None, *, heeds_stop: bool) -> tuple[str, str, Cause, str | None]:
    """Status, reason, cause, and the traceback of an error; `heeds_stop`: the loop has seen the request to stop."""
    if error is None and heeds_stop:
        request = read_stop_request(run)
        return "stopped", request.sentence, request.cause, None
    if error is None:
        return "completed", "", Cause.UNKNOWN, None
    if isinstance(error, _Terminated):
        return "preempted", "received SIGTERM", Cause.REQUEST, None
    if isinstance(error, KeyboardInterrupt):
        return "stopped", "interrupted by Ctrl-C", Cause.REQUEST, None
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return "completed", "", Cause.UNKNOWN, None
    name, text = type(error).__name__, str(error).strip()
    trace = "".join(traceback.format_exception(error))
    return "failed", f"{name}: {text}" if text else name, Cause.ERROR, trace
