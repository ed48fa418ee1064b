"""The events of a run: typed kinds, one schema, written by the worker and read by everybody else.

A line is one JSON object: `v` (version of the schema), `seq` (counts the lines of the file), `t` (seconds since the
epoch), `attempt` (1 for the first start, one more for every resume), `rank`, `step` (completed optimizer steps),
`kind`, and the fields of the kind. Accuracy is a fraction in [0, 1], durations are milliseconds, memory is bytes, and
a number that is not finite is null.
"""

import json
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from rbp_engine.run.layout import json_text

VERSION = 1
READ_AT_ONCE = 8 * 2**20


@dataclass(frozen=True)
class RunStart:
    """An attempt begins; its `step` is the one that it resumes from, 0 for the first. Later ones are superseded.

    `epoch` counts the epochs that are complete there, evaluation included. `exact` is false where another number of
    processes goes on than has saved. `logs` is the folder of this rank's stdout and stderr, within the run's.
    """

    kind: ClassVar[str] = "run_start"
    resumed_from: str | None = None
    exact: bool = True
    world_size: int = 1
    device: str | None = None
    host: str | None = None
    steps_per_epoch: int | None = None
    epochs: int | None = None
    epoch: int | None = None
    logs: str | None = None


@dataclass(frozen=True)
class Metrics:
    """Training, over the `train.log_every` steps that end here; `step_ms` contains `data_ms`, both per step."""

    kind: ClassVar[str] = "metrics"
    epoch: int
    loss: float | None
    top1: float | None
    lr: float
    samples_per_s: float | None = None
    step_ms: float | None = None
    data_ms: float | None = None


@dataclass(frozen=True)
class Validation:
    """An evaluation after `epoch` completed epochs, on "test" or "held-out" data, with the weights "last" or "best"."""

    kind: ClassVar[str] = "validation"
    epoch: int
    loss: float | None
    top1: float | None
    top5: float | None
    samples: int
    split: str = "test"
    weights: str = "last"


@dataclass(frozen=True)
class System:
    """Memory of one rank, in bytes; utilisation as a fraction and power in watts of its GPU.

    `step_ms` contains `data_ms`, the waiting for data; both per step, over the steps since the last of these events.
    """

    kind: ClassVar[str] = "system"
    mem_allocated: int | None = None
    mem_reserved: int | None = None
    mem_peak: int | None = None
    rss: int | None = None
    gpu_util: float | None = None
    power: float | None = None
    step_ms: float | None = None
    data_ms: float | None = None


@dataclass(frozen=True)
class Probe:
    """A measurement of a probe, by name."""

    kind: ClassVar[str] = "probe"
    name: str
    values: Any = None


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is complete; `name` is its folder below `checkpoints/`."""

    kind: ClassVar[str] = "checkpoint"
    name: str
    size: int | None = None
    save_ms: float | None = None
    best: bool = False


@dataclass(frozen=True)
class WarningRaised:
    kind: ClassVar[str] = "warning"
    message: str


@dataclass(frozen=True)
class ErrorRaised:
    kind: ClassVar[str] = "error"
    message: str
    traceback: str | None = None


@dataclass(frozen=True)
class Heartbeat:
    kind: ClassVar[str] = "heartbeat"


@dataclass(frozen=True)
class RunEnd:
    """The worker's own word on how the attempt ended; `last` and `best` are those of `summary.json`."""

    kind: ClassVar[str] = "run_end"
    status: str
    reason: str = ""
    last: dict[str, Any] | None = None
    best: dict[str, Any] | None = None


Body: TypeAlias = (
    RunStart
    | Metrics
    | Validation
    | System
    | Probe
    | CheckpointSaved
    | WarningRaised
    | ErrorRaised
    | Heartbeat
    | RunEnd
)
KINDS: dict[str, type[Body]] = {
    kind.kind: kind
    for kind in (
        RunStart,
        Metrics,
        Validation,
        System,
        Probe,
        CheckpointSaved,
        WarningRaised,
        ErrorRaised,
        Heartbeat,
        RunEnd,
    )
}
_FIELDS = {name: frozenset(field.name for field in fields(kind)) for name, kind in KINDS.items()}


@dataclass(frozen=True)
class Event:
    seq: int
    t: float
    attempt: int
    rank: int
    step: int
    body: Body


def to_json(event: Event) -> str:
    """The event as one line without its newline."""
    envelope: dict[str, Any] = {"v": VERSION, "seq": event.seq, "t": round(event.t, 3), "attempt": event.attempt}
    envelope |= {"rank": event.rank, "step": event.step, "kind": event.body.kind}
    return json_text(envelope | vars(event.body))


def from_json(line: str | bytes) -> Event | None:
    """The event in a line; None for what is no event, an unknown kind, or another version of the schema."""
    try:
        value = json.loads(line)
        kind = KINDS[value["kind"]]
        if value["v"] != VERSION:
            return None
        body = kind(**{key: value[key] for key in _FIELDS[kind.kind] if key in value})
        return Event(
            int(value["seq"]), float(value["t"]), int(value["attempt"]), int(value["rank"]), int(value["step"]), body
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


class EventWriter:
    """Appends the events of one rank, a line at a time, from any thread. A torn last line is cut off first.

    Raises OSError when a line cannot be written whole, for instance on a full disk; nothing of it stays then.
    """

    def __init__(self, path: Path, attempt: int, rank: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.attempt = attempt
        self.rank = rank
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._seq = _mend(self._file)

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

    def close(self) -> None:
        os.close(self._file)


class EventReader:
    """Follows one events file by its byte offset; a line that has no end yet is held back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0  # behind the last complete line: a resuming writer puts another in the place of a torn one

    def poll(self) -> list[Event]:
        """The events that have come since the last call; none where the file is not there (yet)."""
        events: list[Event] = []
        for line in self.poll_lines():
            event = from_json(line)
            if event is not None:
                events.append(event)
        return events

    def poll_lines(self) -> list[bytes]:
        """The complete lines that have come since the last call, as they stand in the file."""
        try:
            with self.path.open("rb") as file:
                self._offset = min(self._offset, file.seek(0, os.SEEK_END))
                file.seek(self._offset)
                lines: list[bytes] = []
                rest = b""
                while chunk := file.read(READ_AT_ONCE):
                    *complete, rest = (rest + chunk).split(b"\n")
                    lines += complete
                    self._offset += sum(len(line) + 1 for line in complete)
                return lines
        except FileNotFoundError:
            return []


def supersede(events: Iterable[Event]) -> list[Event]:
    """Drop what a later attempt has done again: events of earlier attempts beyond the step that it resumed from."""
    kept: list[Event] = []
    for event in events:
        if isinstance(event.body, RunStart):
            kept = [old for old in kept if not superseded(old, event, event.body)]
        kept.append(event)
    return kept


def superseded(old: Event, event: Event, start: RunStart) -> bool:
    """Whether the attempt that begins with this event, a `RunStart`, does again what an event before it tells."""
    if old.attempt >= event.attempt:
        return False
    # A checkpoint made during an evaluation does not contain it, though no step lies between the two.
    if isinstance(old.body, Validation) and start.epoch is not None and old.body.epoch > start.epoch:
        return True
    return old.step > event.step


def read_events(path: Path) -> list[Event]:
    """All events of a file that still count."""
    return supersede(EventReader(path).poll())


def _mend(file: int) -> int:
    """Cut off a torn last line; the number of the next line."""
    data = b""
    os.lseek(file, 0, os.SEEK_SET)
    while chunk := os.read(file, READ_AT_ONCE):
        data += chunk
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.ftruncate(file, whole)
    return data.count(b"\n")
