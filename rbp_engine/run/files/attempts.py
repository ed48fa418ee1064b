"""`attempts/N.json`: the claim and the record of attempt N of a run, in one file.

Whoever creates the file starts the attempt. From then on only those replace it who hold the attempt: its starter, its
worker, and whoever records how it has ended. Attempts are found by their names, counted up from 1: a listing may be
stale.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from rbp_engine import os_process
from rbp_engine.codec import Count, Positive, Seconds, decode
from rbp_engine.os_process import Process
from rbp_engine.printable import NO_TEXT, Lines
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.file_memo import FileMemo
from rbp_engine.run.files.layout import RunDirectory, json_text, unreadable_refused
from rbp_engine.run.files.run_json import Dispatch, Resources, load_run_json, read_run_json

#: One every ten minutes for two weeks. Each is a file that is looked for whenever the run is used.
MOST_ATTEMPTS: Final = 2000


@dataclass(frozen=True)
class Ended:
    """How an attempt has ended, and when (`t`, seconds since the epoch). `cause` is a value of `run.cause.Cause`."""

    status: str
    cause: str = ""
    reason: Lines = NO_TEXT
    t: Seconds = 0.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How an attempt is asked for, wherever it waits on its way.

    `changed` has the settings that are no more as the run was made with them, by key. `inexact` allows another number
    of processes than saved the checkpoint, and `from_scratch` to start over if no checkpoint can be used.
    """

    resources: Resources = field(default_factory=Resources)
    dispatch: Dispatch = field(default_factory=Dispatch)
    changed: dict[str, Any] = field(default_factory=dict)
    inexact: bool = False
    from_scratch: bool = False


@dataclass(frozen=True)
class AttemptRecord(Asked):
    """The start of an attempt: its process (the launcher of several), and when that was (`t`, epoch seconds).

    `starter` has claimed it, and `process` has no pid until its own process is known; `t` is by the clock of the file
    system from then on. `stderr_from` is where its part of stderr begins, in bytes. `environment` has the variables of
    its worker on which its last bits may depend.
    """

    attempt: Positive
    process: Process = field(default_factory=Process)
    starter: Process = field(default_factory=Process)
    t: Seconds | None = None
    stderr_from: Count = 0
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    ended: Ended | None = None

    @property
    def begun(self) -> bool:
        """Whether its process is known: a starter may have died before there was one."""
        return self.process.pid is not None

    @property
    def host(self) -> str:
        """The name of its machine."""
        return self.process.host or self.starter.host

    @property
    def world_size(self) -> int:
        """Its processes, over all nodes."""
        return self.resources.world_size


def newest_attempt(run: RunDirectory) -> int:
    """The number of the newest attempt that was claimed, 0 for none. Raises RunError if that is not known."""
    number = 0
    with unreadable_refused(run.attempts):
        while number < MOST_ATTEMPTS and is_there(run.attempt(number + 1)):
            number += 1
    return number


def newest_begun(run: RunDirectory) -> int:
    """The number of the newest attempt that has begun, 0 for none.

    Raises RunError if a record is unreadable or damaged.
    """
    numbers = range(newest_attempt(run), 0, -1)
    return next((number for number in numbers if load_attempt(run, number).begun), 0)


def load_attempt(run: RunDirectory, number: int) -> AttemptRecord:
    """The record of an attempt, to act on. Raises RunError if it is missing, unreadable or damaged."""
    with unreadable_refused(run.attempt(number)):
        return _memo.read(run.attempt(number))


def read_attempts(run: RunDirectory) -> tuple[AttemptRecord, ...]:
    """All attempts, to be shown; of one whose record cannot be read only the number is known."""
    return tuple(_shown(run))


def last_attempt(run: RunDirectory) -> AttemptRecord | None:
    """The newest attempt, to be shown; None if there is none."""
    return next(_shown(run, newest_first=True), None)


def _shown(run: RunDirectory, *, newest_first: bool = False) -> Iterator[AttemptRecord]:
    with contextlib.suppress(RunError):
        for number in sorted(range(1, newest_attempt(run) + 1), reverse=newest_first):
            yield _memo.find(run.attempt(number), AttemptRecord(number))


def launched(run: RunDirectory) -> Asked:
    """How a run is started, as last time, or as it was made: resources, dispatch, and settings that have changed.

    It has no devices: those of last time may be somebody else's by now.

    Raises RunError as `load_attempt` and `load_run_json` do.
    """
    if number := newest_attempt(run):
        last = load_attempt(run, number)
        return Asked(resources=replace(last.resources, devices=()), dispatch=last.dispatch, changed=last.changed)
    made = load_run_json(run)
    return Asked(resources=made.resources, dispatch=made.dispatch)


def resources_of(run: RunDirectory) -> Resources:
    """The resources of the newest attempt, to be shown; of a run without one, those that it was made with."""
    return (last_attempt(run) or read_run_json(run)).resources


def most_processes(run: RunDirectory) -> int:
    """The processes of the attempt that had most, to be shown beside the peak of its memory, which is of process 0."""
    sizes = [one.world_size for one in read_attempts(run)]
    return max(sizes or [read_run_json(run).resources.world_size])


def claim_attempt(run: RunDirectory, record: AttemptRecord) -> None:
    """Claim an attempt by the creation of its file, whole.

    Raises FileExistsError if somebody else has, OSError, and RunError if a run has had all that it can have.
    """
    if record.attempt > MOST_ATTEMPTS:
        raise RunError(
            f"{run.id} has had {MOST_ATTEMPTS} attempts, the most that a run can have: rbp train --like {run.id}"
        )
    path = run.attempt(record.attempt)
    with inside.folder(path.parent, run.path, make=True) as folder:
        folder.create(path.name, json_text(asdict(record), indent=1) + "\n")
        folder.sync()  # after a power loss, no file of an attempt may exist without its claim


def withdraw_claim(run: RunDirectory, number: int) -> None:
    """Take back the claim of an attempt that could not be started, if the disk allows it."""
    with contextlib.suppress(OSError):
        inside.unlink(run.attempt(number), run.path)


def record_process(run: RunDirectory, number: int, pid: int) -> None:
    """Record the process of an attempt, unless that has been done. Raises RunError as `load_attempt` does, OSError."""
    record = load_attempt(run, number)
    if not record.begun:
        claimed = run.attempt(number).stat().st_mtime
        _replace(run, replace(record, process=os_process.of(pid), t=claimed))


def record_end(run: RunDirectory, number: int, ended: Ended) -> None:
    """Record how an attempt has ended, unless that is known. Raises RunError as `load_attempt` does, OSError."""
    record = load_attempt(run, number)
    if record.ended is None:
        _replace(run, replace(record, ended=ended))


def _replace(run: RunDirectory, record: AttemptRecord) -> None:
    _memo.write(run.attempt(record.attempt), asdict(record), run.path)


def is_there(path: Path) -> bool:
    """Whether anything has this name. Raises OSError if that is not known."""
    try:
        os.stat(path, follow_symlinks=False)  # noqa: PTH116  # a Path takes twice as long
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


_memo = FileMemo(partial(decode, AttemptRecord))
