"""Write a run: what a worker, another program and an import record of it goes through here.

`write_run` makes the files of a new run; `RunWriter` writes the events of an attempt, the summary, and the end.
"""

import contextlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rbp_engine.printable import visible
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.attempts import Ended, record_end
from rbp_engine.run.files.events import Body, ErrorRaised, Event, RunEnd, to_json
from rbp_engine.run.files.layout import RunDirectory, write_atomic
from rbp_engine.run.files.run_json import create_run_json
from rbp_engine.run.files.summary import Summary, load_summary, see_end, write_summary

READ_AT_ONCE = 2**17


class EventWriter:
    """Appends the events of one rank, a line at a time, from any thread. First cuts off a torn last line.

    Neither the file nor its folder may be a link.

    Raises OSError if a line cannot be written whole, for instance on a full disk; no part of it is left in the file.
    """

    def __init__(self, path: Path, attempt: int, rank: int = 0) -> None:
        self.attempt = attempt
        self.rank = rank
        self._lock = threading.Lock()
        with inside.folder(path.parent, path.parents[1], make=True) as folder:
            self._file = folder.open(path.name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            self._seq = _mend(self._file)
            folder.sync()

    def write(self, body: Body, step: int, now: float | None = None) -> Event:
        with self._lock:
            event = Event(self._seq, time.time() if now is None else now, self.attempt, self.rank, step, body)
            line = (to_json(event) + "\n").encode()
            size = os.fstat(self._file).st_size
            try:
                written = os.write(self._file, line)
                if written < len(line):
                    raise OSError(28, "No space left on device")
            except OSError:
                os.ftruncate(self._file, size)
                raise
            self._seq += 1
            return event

    def sync(self) -> None:
        """Flush everything written so far to the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


def _mend(file: int) -> int:
    """Cut off a torn last line and return the number of the next line."""
    lines = size = whole = 0
    os.lseek(file, 0, os.SEEK_SET)
    while chunk := os.read(file, READ_AT_ONCE):
        lines += chunk.count(b"\n")
        if end := chunk.rfind(b"\n") + 1:
            whole = size + end
        size += len(chunk)
    if whole < size:
        os.ftruncate(file, whole)
    return lines


def write_run(run: RunDirectory, toml: str, settings: Mapping[str, Any], command: Sequence[str], **known: Any) -> None:
    """Write the files of a new run into its folder: its settings, as TOML and by section, what is `known` of it (fields
    of run.json, and the folder of its `code`), and the summary.

    `command` made it. Raises OSError.
    """
    write_atomic(run.preset_toml, toml)
    create_run_json(run, command, settings, **known)
    write_summary(run, load_summary(run))


class RunWriter:
    """Writes the events of one rank in one attempt, and the summary. Whatever writes raises OSError."""

    def __init__(self, run: RunDirectory, summary: Summary, attempt: int = 1, rank: int = 0) -> None:
        self.run = run
        self.summary = summary
        self.attempt = attempt
        self.rank = rank
        self.events = EventWriter(run.events(rank), attempt, rank)
        self._reserve = run.reserve(rank)
        make_reserve(run, self._reserve)

    def write(self, body: Body, step: int | None = None, t: float | None = None) -> Event:
        """Append an event, by default at the step in the summary, now (`t`, seconds since the epoch)."""
        return self.events.write(body, self.summary.step if step is None else step, now=t)

    def write_summary(self) -> None:
        write_summary(self.run, self.summary)

    def release(self) -> None:
        """Free the room on the disk that is kept for the end."""
        release_reserve(self.run, self._reserve)

    def end(
        self,
        status: str,
        reason: str,
        cause: Cause = Cause.UNKNOWN,
        traceback: str | None = None,
        t: float | None = None,
    ) -> None:
        """Record how the attempt has ended, at `t`; in the summary even if no event can be written."""
        self.release()
        ended = Ended(status, cause, visible(reason), time.time() if t is None else t)
        try:
            if traceback is not None:
                self.write(ErrorRaised(visible(reason), visible(traceback), cause=cause), t=t)
            if self.rank == 0:
                last, best = self.summary.last.known, self.summary.best.known
                self.write(RunEnd(status, visible(reason), cause, last, best, self.summary.trained_s), t=t)
        finally:
            see_end(self.summary, ended)
            self.write_summary()
            if self.rank == 0:
                with contextlib.suppress(RunError):  # damaged since; the event says it
                    record_end(self.run, self.attempt, ended)


RESERVE_BYTES = 256 * 1024


def make_reserve(run: RunDirectory, file: Path) -> None:
    """Reserve room by a file in the run; without it on a full disk, which later writes will report."""
    try:
        with os.fdopen(inside.open_file(file, run.path, os.O_WRONLY | os.O_CREAT), "wb") as reserve:
            reserve.write(b"\0" * RESERVE_BYTES)
    except OSError:  # use what room there is
        release_reserve(run, file)


def release_reserve(run: RunDirectory, file: Path) -> None:
    """Release it; if it cannot be removed, there may be room all the same."""
    with contextlib.suppress(OSError):
        inside.unlink(file, run.path)
