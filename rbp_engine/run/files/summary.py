"""`summary.json`: what lists of runs read about the progress of a run, beside what `run.json` says it is.

It is what `run.json`, the attempts and the events of rank 0 come to, by `see` and its kind. A worker keeps it in step
with each event that it writes; a file that is missing or damaged is made anew from the others.
"""

import contextlib
import dataclasses
import heapq
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from rbp_engine.codec import Count, Seconds, decode
from rbp_engine.printable import LONGEST_TEXT, NO_TEXT, Line, Lines, visible
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import AttemptRecord, Ended, read_attempts
from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.files.events import (
    LAST,
    TEST,
    AlertRaised,
    Event,
    Metrics,
    RunEnd,
    RunStart,
    Scores,
    System,
    Top1ByWeights,
    Validation,
)
from rbp_engine.run.files.file_memo import FileMemo
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import RunIdentity, RunJson, load_run_json
from rbp_engine.run.phase import Phase
from rbp_engine.run.timesteps_needed import timesteps_needed

STARTING = "starting"
# Until an attempt's steps span this long, step durations predict better than event times: events come in bursts.
PACED_AFTER_S = 5.0


@dataclass(kw_only=True)
class SummaryJson:
    """The fields of the file: the state of a run as its worker last wrote it; `run/status/status.py` finds the true
    status.

    Accuracies are fractions, times seconds since the epoch, memory bytes. `steps` are those of the whole run, of its
    budget if that is less than its epochs. `progressed` is when the last step or evaluation batch was done, `updated`
    the last sign of life. `timesteps_needed` is the smallest t whose accuracy in the newest evaluation is within half a
    percentage point of that at T. `cause`, a value of `run.cause.Cause`, is why the run has ended. `alert` has the
    alerts of this attempt, by the rules of its guard; empty without any.
    `phase`, a value of `run.phase.Phase`, is what the worker is doing, to be shown while the run is live. `host` is
    where the newest attempt was started, or the run was made. `split` is what epochs are evaluated on. `samples_per_s`
    and `step_ms` are of the last `train.log_every` steps, and of all steps once the run has ended. The newest attempt
    first told of its training at `paced_from`, None before it has, when it was at step `paced_step`.
    """

    status: str = STARTING
    reason: Lines = NO_TEXT
    cause: str = ""
    phase: str = ""
    alert: Lines = NO_TEXT
    epoch: Count = 0
    step: Count = 0
    steps: Count = 0
    steps_per_epoch: Count = 0
    samples_per_epoch: Count = 0
    samples_per_step: Count = 0
    last: Scores = field(default_factory=Scores)
    best: Scores = field(default_factory=Scores)
    test: Top1ByWeights = field(default_factory=Top1ByWeights)
    timesteps_needed: Count | None = None
    train: Scores = field(default_factory=Scores)
    samples_per_s: float | None = None
    step_ms: float | None = None
    mem_peak: Count | None = None
    trained_s: Seconds = 0.0
    paced_from: Seconds | None = None
    paced_step: Count = 0
    attempt: Count = 1
    host: str = ""
    split: Line = TEST
    progressed: Seconds = field(default_factory=time.time)
    updated: Seconds = field(default_factory=time.time)

    @property
    def samples(self) -> int:
        """How many samples all steps of training have taken, over all attempts; 0 if that is not known."""
        epochs, steps = divmod(self.step, self.steps_per_epoch or 1)
        return epochs * self.samples_per_epoch + steps * self.samples_per_step

    @property
    def mean_step_ms(self) -> float | None:
        """Milliseconds that a step of training has taken, over all attempts."""
        return 1000 * self.trained_s / self.step if self.step and self.trained_s else None


@dataclass
class Summary(SummaryJson, RunIdentity):
    """A run in a list: what it is, by run.json, and its progress."""

    def __post_init__(self) -> None:
        self.label = self.label or self.preset

    def as_json(self) -> dict[str, Any]:
        """All fields, where scores that are not known are left out."""
        return _plain(vars(self))

    @property
    def called(self) -> str:
        """The run's name in lists: the one that the user gave it, else its label."""
        return f"{self.name or self.label}{self.longer}"

    @property
    def described(self) -> str:
        """The label, with the epochs of a run that goes on from a shorter one."""
        return f"{self.label}{self.longer}"

    @property
    def longer(self) -> str:
        """What follows the name of a fork, as " · 200→400 epochs"; empty for the others."""
        return f" · {self.origin_epochs}→{self.epochs} epochs" if self.origin else ""


_OF_THE_FILE: Final = tuple(one.name for one in dataclasses.fields(SummaryJson))
IDENTITY: Final = tuple(one.name for one in dataclasses.fields(RunIdentity))


def remaining_s(summary: Summary) -> float | None:
    """Seconds to the last step at the pace of the newest attempt, evaluations and checkpoints included.

    Earlier attempts do not count: they may have run on another machine. None before the attempt's first metrics.
    """
    if summary.paced_from is None or not summary.steps:
        return None
    left = max(0, summary.steps - summary.step)
    span, steps = summary.progressed - summary.paced_from, summary.step - summary.paced_step
    if span >= PACED_AFTER_S and steps > 0:
        return left * span / steps
    return None if summary.step_ms is None else left * summary.step_ms / 1000.0


def see(summary: Summary, event: Event) -> None:
    """Bring a summary in step with the next event of rank 0."""
    summary.step = max(summary.step, event.step)
    match event.body:
        case RunStart() as start:
            summary.status, summary.step, summary.epoch = "running", event.step, start.epoch or 0
            summary.paced_from = None
            summary.steps_per_epoch = start.steps_per_epoch or 0
            summary.samples_per_epoch = start.samples_per_epoch or 0
            summary.samples_per_step = start.samples_per_step or 0
            in_epochs = summary.steps_per_epoch * (summary.epochs or start.epochs or 0)  # a fork has more
            summary.steps = start.steps or in_epochs
            reached = start.reached
            summary.last, summary.best, summary.train = reached.last, reached.best, reached.train
            summary.timesteps_needed, summary.trained_s = reached.timesteps_needed, reached.trained_s
            summary.test, summary.split = Top1ByWeights(), start.split
        case Metrics() as metrics:
            if summary.paced_from is None:
                summary.paced_from, summary.paced_step = round(event.t, 3), event.step  # as the file has it
            summary.train = Scores(metrics.top1, loss=metrics.loss)
            summary.epoch = max(summary.epoch, metrics.epoch)
            summary.samples_per_s = metrics.samples_per_s or summary.samples_per_s
            summary.step_ms = metrics.step_ms or summary.step_ms
            summary.trained_s = metrics.trained_s if metrics.trained_s is not None else summary.trained_s
        case Validation() as result:
            _see_evaluation(summary, result)
        case System(mem_peak=int(peak)):
            summary.mem_peak = max(peak, summary.mem_peak or 0)
        case AlertRaised() as alert:
            summary.alert = visible("; ".join(filter(None, (summary.alert, alert.message))), LONGEST_TEXT)
        case RunEnd() as end:
            summary.trained_s = end.trained_s if end.trained_s is not None else summary.trained_s
            _end(summary, end.status, end.reason, end.cause)
    summary.updated = max(summary.updated, event.t)
    if isinstance(event.body, (RunStart, Metrics, Validation)):
        summary.progressed = max(summary.progressed, event.t)


def _see_evaluation(summary: SummaryJson, result: Validation) -> None:
    if summary.split == TEST != result.split:  # another program does not say at the start that it holds data out
        summary.split, summary.last, summary.best = result.split, Scores(), Scores()
    if result.weights == LAST and result.split == summary.split:
        summary.epoch = max(summary.epoch, result.epoch)
        # Another program may log its accuracy and its loss one after the other.
        known = {
            name: one for name in ("top1", "top5", "loss", "ema_top1") if (one := getattr(result, name)) is not None
        }
        summary.last = dataclasses.replace(summary.last, **known)
        if result.top1 is not None and (summary.best.top1 is None or result.top1 > summary.best.top1):
            summary.best = Scores(result.top1, epoch=result.epoch, ema_top1=result.ema_top1)
        summary.timesteps_needed = timesteps_needed(result.top1_by_step or ())
    elif result.weights in Top1ByWeights.__match_args__:
        summary.test = dataclasses.replace(summary.test, **{result.weights: result.top1})
        if result.weights == LAST and result.epoch == summary.best.epoch:  # these are the best weights, too
            summary.test = dataclasses.replace(summary.test, best=result.top1)


def see_attempt(summary: SummaryJson, attempt: AttemptRecord) -> None:
    """Bring a summary in step with the start of an attempt."""
    _end(summary, STARTING, NO_TEXT, "")
    summary.alert, summary.attempt, summary.host = NO_TEXT, attempt.attempt, attempt.host
    summary.progressed = summary.updated = attempt.t or summary.updated


def see_end(summary: SummaryJson, ended: Ended) -> None:
    """Bring a summary in step with the recorded end of an attempt."""
    _end(summary, ended.status, ended.reason, ended.cause)
    summary.updated = max(summary.updated, ended.t)


def _end(summary: SummaryJson, status: str, reason: Lines, cause: str) -> None:
    summary.status, summary.reason, summary.cause, summary.phase = status, reason, cause, Phase.NONE
    if status == STARTING:
        summary.paced_from = None
    elif mean := summary.mean_step_ms:
        if summary.samples:
            summary.samples_per_s = summary.samples / summary.trained_s
        elif summary.samples_per_s and summary.step_ms:  # another program's batches are not known
            summary.samples_per_s *= summary.step_ms / mean
        summary.step_ms = mean


def fold(run: RunDirectory) -> Summary:
    """The summary that run.json, the attempts and the events of rank 0 come to. Raises RunError if run.json cannot be
    read."""
    described = load_run_json(run)
    known = _identity(run, described)
    known |= {"host": described.host, "progressed": described.created, "updated": described.created}
    summary = Summary(**known)
    ended = None
    # Of an attempt, its record comes before its events, and how it has ended behind them.
    told: tuple[Iterable[AttemptRecord | Event], ...] = (read_attempts(run), _events(run))
    for one in heapq.merge(*told, key=lambda one: one.attempt):
        if isinstance(one, Event):
            see(summary, one)
            continue
        if ended is not None:
            see_end(summary, ended)
        see_attempt(summary, one)
        ended = one.ended
    if ended is not None:
        see_end(summary, ended)
    return summary


def _events(run: RunDirectory) -> Iterator[Event]:
    with contextlib.suppress(OSError):  # what has been read is what is known
        yield from EventReader(run.events()).stream()


def write_summary(run: RunDirectory, summary: SummaryJson) -> None:
    """Write it atomically, `updated` now."""
    summary.updated = time.time()
    _memo.write(run.summary_json, _plain({name: getattr(summary, name) for name in _OF_THE_FILE}))


def write_status(
    run: RunDirectory, status: str, reason: str = "", cause: Cause = Cause.UNKNOWN, **changes: Any
) -> None:
    """Change status, reason, cause and other fields of the summary; no worker is in any phase then.

    Raises RunError if run.json cannot be read.
    """
    summary = load_summary(run)
    _end(summary, status, visible(reason), cause)
    write_summary(run, dataclasses.replace(summary, **changes))


def read_summary(run: RunDirectory) -> Summary | None:
    """The summary; None if run.json cannot be read."""
    try:
        return load_summary(run)
    except RunError:
        return None


def load_summary(run: RunDirectory) -> Summary:
    """The summary, made anew if its file is missing or damaged. Raises RunError if run.json cannot be read."""
    described = load_run_json(run)
    try:
        known = _memo.read(run.summary_json)
    except (OSError, ValueError):
        return fold(run)
    own = object.__new__(Summary)  # a copy, since callers may change it; `copy` takes five times as long
    vars(own).update(vars(known))
    vars(own).update(_identity(run, described))
    return own


def _identity(run: RunDirectory, described: RunJson) -> dict[str, Any]:
    """What run.json says that a summary has, too; but its folder names the run, which may be a copy of another."""
    return {name: getattr(described, name) for name in IDENTITY} | {"id": run.id}


def refuse_other_program(run: RunDirectory, why: str = "which rbp cannot start: start it again") -> None:
    """Raise RunError for a run that another program trains; `why` says what rbp cannot do with it."""
    summary = read_summary(run)
    if summary is not None and summary.program:
        raise RunError(f"{run.id} was trained by another program, {summary.program}, {why}")


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    scores = (Scores, Top1ByWeights)
    return {name: value.known if isinstance(value, scores) else value for name, value in values.items()}


_memo = FileMemo(partial(decode, SummaryJson))
