"""`summary.json`: the few values that lists of runs read."""

import json
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.json_fields import LATEST_T, fields_of
from rbp_engine.run.files.layout import RunDirectory, open_regular, write_json


@dataclass
class Summary:
    """State of a run as its worker last wrote it; `run/status/status.py` finds the true status.

    Accuracies are fractions, times seconds since the epoch, memory bytes. `progressed` is when the last step or
    evaluation batch was done, `updated` the last sign of life. `label` is the preset, with the network or data set that
    replaced its own. `cause`, a value of `run.cause.Cause`, is why the run has ended.
    """

    id: str
    preset: str
    experiment: str
    method: str
    timesteps: int
    seed: int
    status: str = "starting"
    reason: str = ""
    cause: str = ""
    name: str = ""
    label: str = ""
    tags: list[str] = field(default_factory=list)
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    last: dict[str, float | None] = field(default_factory=dict)
    best: dict[str, float | None] = field(default_factory=dict)
    test: dict[str, float | None] = field(default_factory=dict)
    train: dict[str, float | None] = field(default_factory=dict)
    samples_per_s: float | None = None
    step_ms: float | None = None
    mem_peak: int | None = None
    trained_s: float = 0.0
    attempt: int = 1
    created: float = field(default_factory=time.time)
    progressed: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.label = self.label or self.preset  # older runs have no label

    @property
    def called(self) -> str:
        """The run's name in lists: the one that the user gave it, else its label."""
        return self.name or self.label


def remaining_s(summary: Summary) -> float | None:
    """Seconds of training left, from the time per step over all attempts."""
    if not summary.step or not summary.steps:
        return None
    return summary.trained_s / summary.step * (summary.steps - summary.step)


def write_summary(run: RunDirectory, summary: Summary) -> None:
    """Write it atomically, `updated` now."""
    summary.updated = time.time()
    write_json(run.summary_json, asdict(summary))


def write_status(
    run: RunDirectory, status: str, reason: str = "", cause: Cause = Cause.UNKNOWN, **changes: Any
) -> None:
    """Change status, reason, cause and other fields of the summary.

    Raises RunError if the summary is invalid.
    """
    summary = read_summary(run)
    if summary is None:
        raise RunError(f"{run.id}: summary.json is missing or damaged")
    write_summary(run, replace(summary, status=status, reason=reason, cause=cause, **changes))


def read_summary(run: RunDirectory) -> Summary | None:
    """The summary; None if it is missing or invalid."""
    try:
        return load_summary(run)
    except RunError:
        return None


def load_summary(run: RunDirectory) -> Summary:
    """The summary. Raises RunError with the reason if it is missing or invalid."""
    try:
        with open_regular(run.summary_json) as file:
            value = json.loads(file.read())
    except OSError as error:
        raise RunError(f"cannot read summary.json: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise RunError("summary.json is damaged: it is not JSON") from None
    try:
        return _parse(value)
    except ValueError as error:
        raise RunError(f"summary.json is damaged, or of another version of rbp: {error}") from error


def _parse(value: Any) -> Summary:
    """The summary in a JSON value. Raises ValueError with what is missing or invalid."""
    summary = Summary(**fields_of(Summary, value))
    if not all(isinstance(tag, str) for tag in summary.tags):
        raise ValueError("tags are words")
    for name in ("last", "best", "test", "train"):
        numbers = getattr(summary, name)
        if not all(number is None or type(number) in (int, float) for number in numbers.values()):
            raise ValueError(f"{name} has numbers and null")
        setattr(summary, name, {key: _representable(number) for key, number in numbers.items()})
    for name in ("created", "progressed", "updated"):
        if not 0 <= getattr(summary, name) <= LATEST_T:
            raise ValueError(f"{name} is no time")
    return summary


def _representable(number: float | None) -> float | None:
    """The number if a finite float can hold it, else None; Python's JSON allows NaN and integers beyond any float."""
    return number if number is not None and abs(number) <= sys.float_info.max else None
