"""`summary.json`: the few values that lists of runs read."""

import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any

from rbp_engine.printable import NO_TEXT, Lines, visible
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.file_memo import FileMemo
from rbp_engine.run.files.json_fields import LATEST_T, fields_of
from rbp_engine.run.files.layout import RunDirectory, write_json
from rbp_engine.run.phase import Phase
from rbp_engine.untrusted_files import TooComplex, parse_json

LARGEST_FLOAT = sys.float_info.max


class _Numbers:
    """Numbers of which some may not be known."""

    @property
    def known(self) -> dict[str, Any]:
        """The known ones by name."""
        return {name: number for name, number in vars(self).items() if number is not None}


@dataclass(frozen=True)
class Scores(_Numbers):
    """Accuracies (fractions) and loss of training or of an evaluation, after `epoch` epochs; None where unknown.

    `ema_top1` is the top-1 of the moving average of the weights, if the run has one.
    """

    top1: float | None = None
    top5: float | None = None
    loss: float | None = None
    epoch: int | None = None
    ema_top1: float | None = None


@dataclass(frozen=True)
class Top1ByWeights(_Numbers):
    """The top-1 on the test set after training, by weights, where the epochs were evaluated on held-out data."""

    last: float | None = None
    best: float | None = None
    ema: float | None = None


@dataclass
class Summary:
    """State of a run as its worker last wrote it; `run/status/status.py` finds the true status.

    Accuracies are fractions, times seconds since the epoch, memory bytes. `progressed` is when the last step or
    evaluation batch was done, `updated` the last sign of life. `label` is the preset, with the network or data set that
    replaced its own. `timesteps_needed` is the smallest t whose accuracy in the newest evaluation is within half a
    percentage point of that at T; None in older runs. `cause`, a value of `run.cause.Cause`, is why the run has ended.
    `alert` is the newest alert of this attempt, by the rules of its guard; empty without any.
    `program` is the one that trains the run, by `run.track`; empty if rbp does. Such a run may have no `preset`.
    `phase`, a value of `run.phase.Phase`, is what the worker is doing, to be shown while the run is live; empty in
    older runs. `extended_from` is the number of epochs that the run was made for, if it was given more since; else 0.
    `host` is where the newest attempt was started, or the run was made; empty in older runs.
    """

    id: str
    preset: str
    experiment: str
    method: str
    timesteps: int
    seed: int
    status: str = "starting"
    reason: Lines = NO_TEXT
    cause: str = ""
    phase: str = ""
    alert: Lines = NO_TEXT
    name: str = ""
    label: str = ""
    program: str = ""
    tags: list[str] = field(default_factory=list)
    epoch: int = 0
    epochs: int = 0
    extended_from: int = 0
    step: int = 0
    steps: int = 0
    last: Scores = field(default_factory=Scores)
    best: Scores = field(default_factory=Scores)
    test: Top1ByWeights = field(default_factory=Top1ByWeights)
    timesteps_needed: int | None = None
    train: Scores = field(default_factory=Scores)
    samples_per_s: float | None = None
    step_ms: float | None = None
    mem_peak: int | None = None
    trained_s: float = 0.0
    attempt: int = 1
    host: str = ""
    created: float = field(default_factory=time.time)
    progressed: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.label = self.label or self.preset  # older runs have no label

    def as_json(self) -> dict[str, Any]:
        """The fields as in the file, where scores that are not known are left out."""
        return {name: value.known if isinstance(value, _Numbers) else value for name, value in vars(self).items()}

    @property
    def called(self) -> str:
        """The run's name in lists: the one that the user gave it, else its label."""
        return f"{self.name or self.label}{self.longer}"

    @property
    def described(self) -> str:
        """The label, with the epochs of a run that was trained longer than it was made for."""
        return f"{self.label}{self.longer}"

    @property
    def longer(self) -> str:
        """What follows the name of a run that was trained longer, as " · 200→400 epochs"; empty for the others."""
        return f" · {self.extended_from}→{self.epochs} epochs" if self.extended_from else ""


def remaining_s(summary: Summary) -> float | None:
    """Seconds of training left, from the time per step over all attempts."""
    if not summary.step or not summary.steps:
        return None
    return summary.trained_s / summary.step * (summary.steps - summary.step)


def write_summary(run: RunDirectory, summary: Summary) -> None:
    """Write it atomically, `updated` now."""
    summary.updated = time.time()
    write_json(run.summary_json, summary.as_json())
    _memo.forget(run.summary_json)


def write_status(
    run: RunDirectory, status: str, reason: str = "", cause: Cause = Cause.UNKNOWN, **changes: Any
) -> None:
    """Change status, reason, cause and other fields of the summary; no worker is in any phase then.

    Raises RunError if the summary is invalid.
    """
    summary = read_summary(run)
    if summary is None:
        raise RunError(f"{run.id}: summary.json is missing or damaged")
    write_summary(
        run, replace(summary, status=status, reason=visible(reason), cause=cause, phase=Phase.NONE, **changes)
    )


def read_summary(run: RunDirectory) -> Summary | None:
    """The summary; None if it is missing or invalid."""
    try:
        return load_summary(run)
    except RunError:
        return None


def load_summary(run: RunDirectory) -> Summary:
    """The summary. Raises RunError with the reason if it is missing or invalid."""
    try:
        known = _memo.read(run.summary_json)
    except OSError as error:
        raise RunError(f"cannot read summary.json: {error.strerror}") from error
    own = object.__new__(Summary)  # a copy, since callers may change it; `copy` takes five times as long
    vars(own).update(vars(known))
    return own


def _parse(content: bytes) -> Summary:
    try:
        value = parse_json(content)
    except TooComplex as error:
        raise RunError(f"summary.json is damaged: {error}") from None
    except ValueError:
        raise RunError("summary.json is damaged: it is not JSON") from None
    try:
        return summary_in(value)
    except ValueError as error:
        raise RunError(f"summary.json is damaged, or of another version of rbp: {error}") from error


def summary_in(value: Any) -> Summary:
    """The summary in a JSON value. Raises ValueError with what is missing or invalid."""
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    kinds = {"last": Scores, "best": Scores, "train": Scores, "test": Top1ByWeights}
    scores: dict[str, Any] = {name: _scores(kind, name, value[name]) for name, kind in kinds.items() if name in value}
    known = fields_of(Summary, {name: item for name, item in value.items() if name not in scores})
    summary = Summary(**known, **scores)
    for name in ("created", "progressed", "updated"):
        if not 0 <= getattr(summary, name) <= LATEST_T:
            raise ValueError(f"{name} is no time")
    return summary


def _scores(kind: type[Any], name: str, value: Any) -> Any:
    """The scores in a JSON object; a number that no finite float can hold becomes None. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r:.40}")
    known = {}
    for key, number in value.items():
        if key not in kind.__match_args__ or number is None:
            continue
        if type(number) not in (int, float):
            raise ValueError(f"{name}: scores are numbers or null")
        if abs(number) <= LARGEST_FLOAT:  # not so for NaN, which Python's JSON allows
            known[key] = number
    return kind(**known)


_memo = FileMemo(_parse)
