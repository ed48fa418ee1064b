"""The events of a run: typed kinds, one schema. The worker writes them, everything else reads them.

Each line is a JSON object: `v` (version of the schema), `seq` (line number in the file), `t` (seconds since the
epoch), `attempt` (1 for the first start, one more for every resume), `rank`, `step` (completed optimizer steps),
`kind`, and the fields of the kind. Accuracy is a fraction in [0, 1], durations are milliseconds, memory is bytes, and
a number that is not finite is null. Text is printable: that of a damaged or hostile file becomes so when it is read.
"""

import contextlib
import json
import os
import stat
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from rbp_engine.printable import NO_TEXT, Line, Lines, one_line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.json_fields import LARGEST, LATEST_T, fields_of
from rbp_engine.run.files.layout import json_text
from rbp_engine.untrusted_files import described, open_untrusted

VERSION = 1
READ_AT_ONCE = 2**17
LONGEST_LINE = 2**22  # bytes; a longer line is not an event

ELIGIBILITY_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

TEST, LAST = one_line("test"), one_line("last")


@dataclass(frozen=True)
class RunStart:
    """An attempt begins; its `step` is the one that it resumes from, 0 for the first. Later steps are superseded.

    `epoch` counts the epochs complete at that step, evaluation included. `exact` is false if the number of processes or
    the type of device has changed since the checkpoint. `logs` is the folder of this rank's stdout and stderr, relative
    to the run's. `neuron_layers` and `weight_layers` are the layers that events of probes tell of, by the names of
    their modules.
    """

    kind: ClassVar[str] = "run_start"
    resumed_from: Line | None = None
    exact: bool = True
    world_size: int = 1
    device: Line | None = None
    host: Line | None = None
    steps_per_epoch: int | None = None
    epochs: int | None = None
    epoch: int | None = None
    logs: Line | None = None
    gap_from: int | None = None
    neuron_layers: list[Line] | None = None
    weight_layers: list[Line] | None = None


@dataclass(frozen=True)
class Metrics:
    """Training over the last `train.log_every` steps; `step_ms` contains `data_ms`, both per step."""

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
    """An evaluation after `epoch` completed epochs, on "test" or "held-out" data, with the "last" or "best" weights.

    `top1_by_step` is the accuracy of the first t timesteps, t = 1 … T.
    """

    kind: ClassVar[str] = "validation"
    epoch: int
    loss: float | None
    top1: float | None
    top5: float | None
    samples: int
    split: Line = TEST
    weights: Line = LAST
    top1_by_step: list[float] | None = None


@dataclass(frozen=True)
class System:
    """Memory of one rank in bytes; utilisation (a fraction) and power (watts) of its GPU.

    `step_ms` contains `data_ms`, the wait for data; both per step, over the steps since the rank's last `System` event.
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

    @property
    def used(self) -> int | None:
        """The memory in use: allocated on the GPU, or resident if there is none."""
        return self.rss if self.mem_allocated is None else self.mem_allocated


@dataclass(frozen=True)
class FiringRates:
    """Spikes of one training step: `rates` has for each neuron layer the mean of its spikes at each timestep.

    `silent` and `saturated` are shares of a layer's neurons: of those that fired for no sample of the batch, and of
    those that fired at every timestep for every sample. `RunStart` has the names of the layers. With several processes
    these are the samples of rank 0.
    """

    kind: ClassVar[str] = "firing_rates"
    rates: list[list[float]]
    silent: list[float]
    saturated: list[float]


@dataclass(frozen=True)
class GradientFidelity:
    """How close the gradient is to BPTT's on a fixed batch: of all weights together, and of each weight layer.

    A cosine is that of the angle between the two gradients, a norm ratio is the method's norm by BPTT's; both are None
    where a gradient is 0. `neuron_error` and `weight_error` say how far the rate methods' assumption is from the truth,
    relative to BPTT's gradient: for each neuron layer, that slopes and gradients do not vary together in time, and for
    each weight layer, that inputs and gradients do not. `samples` is the size of the batch.
    """

    kind: ClassVar[str] = "gradient_fidelity"
    samples: int
    cosine: float | None
    norm_ratio: float | None
    cosine_by_weight: list[float | None]
    norm_ratio_by_weight: list[float | None]
    neuron_error: list[float | None]
    weight_error: list[float | None]


@dataclass(frozen=True)
class Health:
    """Of one training step, by layer: where membranes and eligibilities are, how large gradients and updates are.

    `in_window` is the share of a neuron layer's membranes within the surrogate's window, `eligibility` the quantiles
    ELIGIBILITY_QUANTILES of its g (paper, equation 10). `gradient_norm` is the Euclidean norm of the gradient of each
    weight layer, `update_ratio` the norm of its update by the norm of the weights.
    """

    kind: ClassVar[str] = "health"
    in_window: list[float | None]
    eligibility: list[list[float | None]]
    gradient_norm: list[float | None]
    update_ratio: list[float | None]


@dataclass(frozen=True)
class Probe:
    """A measurement by the probe of this name."""

    kind: ClassVar[str] = "probe"
    name: Line
    values: Any = None


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is complete; `name` is its folder below `checkpoints/`."""

    kind: ClassVar[str] = "checkpoint"
    name: Line
    size: int | None = None
    save_ms: float | None = None
    best: bool = False


@dataclass(frozen=True)
class WarningRaised:
    kind: ClassVar[str] = "warning"
    message: Lines


@dataclass(frozen=True)
class ErrorRaised:
    """An exception; `cause` is a value of `run.cause.Cause`.

    `about_others`: it only reports that another process of the run is gone; the reason is in that process's own events.
    """

    kind: ClassVar[str] = "error"
    message: Lines
    traceback: Lines | None = None
    about_others: bool = False
    cause: str = ""


@dataclass(frozen=True)
class Heartbeat:
    kind: ClassVar[str] = "heartbeat"


@dataclass(frozen=True)
class RunEnd:
    """How the attempt ended, as the worker reports it; `last` and `best` are those of `summary.json`.

    `cause` is a value of `run.cause.Cause`, empty if the run has completed.
    """

    kind: ClassVar[str] = "run_end"
    status: str
    reason: Lines = NO_TEXT
    cause: str = ""
    last: dict[str, Any] | None = None
    best: dict[str, Any] | None = None


Body: TypeAlias = (
    RunStart
    | Metrics
    | Validation
    | System
    | FiringRates
    | GradientFidelity
    | Health
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
        FiringRates,
        GradientFidelity,
        Health,
        Probe,
        CheckpointSaved,
        WarningRaised,
        ErrorRaised,
        Heartbeat,
        RunEnd,
    )
}
_envelope = itemgetter("seq", "t", "attempt", "rank", "step")


@dataclass(frozen=True)
class Event:
    seq: int
    t: float
    attempt: int
    rank: int
    step: int
    body: Body


def to_json(event: Event) -> str:
    """The event as one line, without the newline."""
    envelope: dict[str, Any] = {"v": VERSION, "seq": event.seq, "t": round(event.t, 3), "attempt": event.attempt}
    envelope |= {"rank": event.rank, "step": event.step, "kind": event.body.kind}
    return json_text(envelope | vars(event.body))


def from_json(line: str | bytes) -> Event | None:
    """The event in a line; None if it is not an event, of an unknown kind, or of another version of the schema."""
    try:
        return _event(json.loads(line))
    except (ValueError, RecursionError):
        return None


def _event(value: Any) -> Event | None:
    try:
        if value["v"] != VERSION:
            return None
        kind = KINDS[value["kind"]]
        seq, t, attempt, rank, step = _envelope(value)
        whole = type(seq) is type(attempt) is type(rank) is type(step) is int
        if not (whole and 0 <= t <= LATEST_T and 0 <= seq < LARGEST and 0 <= step < LARGEST and attempt >= 0 <= rank):
            return None
        return Event(seq, float(t), attempt, rank, step, kind(**fields_of(kind, value)))
    except (ValueError, KeyError, TypeError):
        return None


def _events(lines: list[bytes]) -> list[Event]:
    """The events among the lines, parsed as one JSON array, which takes half the time, unless a line is not JSON."""
    try:
        values = json.loads(b"[%b]" % b",".join(lines))
        if len(values) == len(lines):
            return [event for event in map(_event, values) if event is not None]
    except (ValueError, RecursionError):
        pass
    return [event for event in map(from_json, lines) if event is not None]


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


class EventReader:
    """Follows one events file by its byte offset; an incomplete last line is left for a later call.

    With `kinds`, lines of other kinds are not parsed. `behind`: the last call left something to read. `skipped_lines`
    counts the lines that were not events: damaged, of another version, or too long.
    """

    def __init__(self, path: Path, kinds: Collection[type[Body]] = ()) -> None:
        self.path = path
        self.behind = False
        self.skipped_lines = 0
        self._kinds = [f'"{kind.kind}"'.encode() for kind in kinds]
        self._offset = 0  # after the last complete line: a resuming writer replaces a torn one
        self._in_long_line = False

    def poll(self) -> list[Event]:
        """The events written since the last call; none if the file does not exist (yet)."""
        events = self.poll_some()
        while self.behind:
            events += self.poll_some()
        return events

    def poll_some(self) -> list[Event]:
        """The next events: those in the next READ_AT_ONCE bytes of the file."""
        lines = self._next_lines()
        if self._kinds:
            lines = [line for line in lines if any(kind in line for kind in self._kinds)]
        events = _events(lines)
        self.skipped_lines += len(lines) - len(events)
        return events

    def poll_lines(self) -> list[bytes]:
        """The complete lines written since the last call, unparsed, as far as the file can be read."""
        lines: list[bytes] = []
        with contextlib.suppress(OSError):
            lines += self._next_lines()
            while self.behind:
                lines += self._next_lines()
        return lines

    def _next_lines(self) -> list[bytes]:
        """The complete lines in the next READ_AT_ONCE bytes of the file; skips a line longer than LONGEST_LINE."""
        self.behind = False
        try:
            found = self.path.stat()
            if found.st_size == self._offset and stat.S_ISREG(found.st_mode):
                return []  # nothing new, as most times that a file is looked at
            with open_untrusted(self.path) as file:
                size = file.seek(0, os.SEEK_END)
                if size < self._offset:  # a torn line was cut off
                    self._offset, self._in_long_line = size, False
                file.seek(self._offset)
                chunk = file.read(READ_AT_ONCE)
                if len(chunk) == READ_AT_ONCE and b"\n" not in chunk:
                    chunk += file.read(LONGEST_LINE - READ_AT_ONCE)
        except (FileNotFoundError, NotADirectoryError):
            return []
        self.behind = self._offset + len(chunk) < size
        end = chunk.rfind(b"\n") + 1
        if not end:
            if len(chunk) == LONGEST_LINE:
                self._offset += len(chunk)
                self._in_long_line = True
            return []
        self._offset += end
        lines = chunk[: end - 1].split(b"\n")
        if self._in_long_line:
            del lines[0]
            self.skipped_lines += 1
            self._in_long_line = False
        return lines


def supersede(events: Iterable[Event]) -> list[Event]:
    """Drop what a later attempt has repeated: events of earlier attempts beyond the step that it resumed from."""
    kept: list[Event] = []
    for event in events:
        if isinstance(event.body, RunStart):
            kept = [old for old in kept if not superseded(old, event, event.body)]
        kept.append(event)
    return kept


def superseded(old: Event, event: Event, start: RunStart) -> bool:
    """Whether the attempt that begins with `event`, a `RunStart`, repeats what the `old` event reports."""
    epoch = old.body.epoch if isinstance(old.body, Validation) else None
    return bool(done_again(old.attempt, old.step, epoch, event, start))


def done_again(attempt: Any, step: Any, validated_epoch: Any, event: Event, start: RunStart) -> Any:
    """`superseded` for the numbers of an event, or arrays of them; the epoch is that of a validation, else None."""
    again = step > event.step
    # A checkpoint made during an evaluation does not contain its result, though no step lies between the two.
    if validated_epoch is not None and start.epoch is not None:
        again = again | (validated_epoch > start.epoch)
    return (attempt < event.attempt) & again


def read_events(path: Path, kinds: Collection[type[Body]] = ()) -> list[Event]:
    """All events of a file, or those of some kinds, without those that a later attempt has superseded.

    Raises RunError if the file cannot be read; one that is missing has none.
    """
    try:
        return supersede(EventReader(path, kinds).poll())
    except OSError as error:
        raise RunError(f"events cannot be read: {described(error)}") from error


def read_last_events(path: Path, size: int = 256 * 1024) -> list[Event]:
    """`read_events` of the last `size` bytes of a file; none if it cannot be read."""
    try:
        with open_untrusted(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return supersede(_events(file.read().split(b"\n")))
    except OSError:
        return []


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
