"""Train a run longer than it was made for: more epochs, from its newest checkpoint.

The learning rate follows the schedule of the new length from there on. The result is that of neither length, so the run
becomes another experiment, and `extended_from` in its summary says so wherever it is listed.

run.json is written first, in one piece, and decides: if the process is killed after that, `finish` changes the other
files before the next start. If it is killed before, nothing has changed.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import math
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rbp_engine.guard.early_stop import EarlyStop
from rbp_engine.preset import SHORT_NAMES, PresetError, Problem, fields, parse_resolved, read_resolved, resolved_toml
from rbp_engine.preset.overrides import Override, parse_overrides
from rbp_engine.preset.resolved import as_toml
from rbp_engine.run import trust
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import NothingToStart, RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.events import RunStart, Validation
from rbp_engine.run.files.layout import RunDirectory, load_json, write_atomic, write_json
from rbp_engine.run.files.resources import Resources
from rbp_engine.run.files.run_json import ExtensionRecord, load_run_json
from rbp_engine.run.files.scores import Top1ByWeights
from rbp_engine.run.files.summary import Summary, load_summary, write_status
from rbp_engine.run.status.status import judge

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset
    from rbp_engine.preset.sections.guard import GuardSection

EPOCHS: Final = "train.epochs"
#: What may change when a run goes on: its length, its budgets, what it tells of, and how often it saves.
CHANGEABLE: Final = (EPOCHS, "train.checkpoint_every", "guard.max_time", "guard.max_steps", "guard.alerts")


def extend(run: RunDirectory, words: Sequence[str]) -> None:
    """Change the length of a run that has ended, given as `epochs=400`; the next start goes on to it.

    Raises NothingToStart if it is live, PresetError for invalid words, and RunError for a setting that cannot change, a
    shorter length, a run without a checkpoint, or one that would end again at once.
    """
    overrides, problems = parse_overrides(words)
    if problems:
        raise PresetError(run.id, problems)
    _refuse_others(run, overrides)
    with _alone(run), _writing(run):
        _finish(run)
        if (verdict := judge(run)).live:
            raise NothingToStart(f"{run.id} is {verdict.status}: stop it first, with rbp stop {run.id}")
        summary, old = load_summary(run), read_resolved(run.preset_toml)
        new = _changed(old, overrides, run)
        if new.train.epochs < old.train.epochs:
            raise RunError(
                f"{run.id} is made for {old.train.epochs} epochs, and cannot become shorter: "
                f"rbp train --like {run.id} epochs={new.train.epochs}"
            )
        if new.train.epochs > old.train.epochs:
            if verdict.cause is Cause.EARLY_STOP or _has_enough(run, old.guard, summary.epoch):
                raise RunError(
                    f"{run.id} would be ended again at once by its early stop: "
                    f"rbp train --like {run.id} epochs={new.train.epochs} guard.early_stop=0"
                )
            if verdict.cause is Cause.BUDGET and new.guard == old.guard:
                raise RunError(
                    f"the budget of {run.id} is used up, which would end it again at once: give it a larger one with "
                    "the epochs, as guard.max_time=8h or guard.max_steps=0"
                )
            _write(run, new, **_longer(run, summary, new.train.epochs))
        elif new != old:
            _write(run, new)
        _finish(run)


def finish(run: RunDirectory) -> None:
    """Do what a killed `extend` has left: give preset and summary the length that run.json says.

    Raises NothingToStart if another command is about to.
    """
    if load_summary(run).extended_from:
        with _alone(run):
            _finish(run)


def _finish(run: RunDirectory) -> None:
    summary = load_summary(run)
    if not summary.extended_from:
        return
    preset = read_resolved(run.preset_toml)
    with _writing(run):
        if preset.train.epochs < summary.epochs:
            _write_preset(run, _with_epochs(preset, summary.epochs))
        if summary.status == "completed" and summary.epoch < summary.epochs and summary.cause != Cause.EARLY_STOP:
            reason = f"trained for {summary.epoch} epochs, and is to go on to {summary.epochs}"
            write_status(run, "stopped", reason, Cause.REQUEST, test=Top1ByWeights())


def _longer(run: RunDirectory, summary: Summary, epochs: int) -> dict[str, Any]:
    """What run.json says of the run once it is to train for `epochs`."""
    step = _newest_step(run)
    if not step:
        raise RunError(f"{run.id} has no checkpoint to go on from: rbp train --like {run.id} epochs={epochs}")
    history = json.dumps([summary.experiment, summary.epochs, step, epochs])
    before = load_run_json(run).extensions
    extension = ExtensionRecord(summary.epochs, epochs, step, time.time())
    return {
        "experiment": hashlib.sha256(history.encode()).hexdigest(),
        "extended_from": summary.extended_from or summary.epochs,
        "epochs": epochs,
        "extensions": [dataclasses.asdict(one) for one in (*before, extension)],
    }


def _has_enough(run: RunDirectory, guard: "GuardSection", epoch: int) -> bool:
    """Whether the early stop of a run is due after this epoch, as it can be at its last one."""
    if not guard.early_stop:
        return False
    from rbp_engine.run.status.history_reader import HistoryReader  # imports numpy

    reader = HistoryReader(run, first_rank=True, kinds=(RunStart, Validation))
    reader.poll()
    rule = EarlyStop(guard.early_stop, guard.early_stop_delta)
    if (scores := reader.history().curves.get("validation/top1")) is not None:
        for after, score in zip(scores.epoch, scores.value, strict=True):
            if not math.isnan(score):
                rule.add(round(after), score)
    return rule.is_due(epoch)


def _newest_step(run: RunDirectory) -> int:
    """The step of the newest checkpoint; 0 if there is none."""
    newest = run.newest_checkpoint
    return int(newest.name.removeprefix("step-")) if newest else 0


def _refuse_others(run: RunDirectory, overrides: Sequence[Override]) -> None:
    """Raise RunError, with all of the settings that are fixed in a run, and the command of a new one."""
    others = [override for override in overrides if override.key not in CHANGEABLE]
    if not others:
        return
    roles = {info.key: info.role for info in fields()}
    of_result = [override for override in others if roles.get(override.key, "result") == "result"]
    why = "it would be another experiment" if of_result else "a run keeps the settings that it was made with"
    short = {key: name for name, key in SHORT_NAMES.items()}
    *first, last = (short.get(key, key) for key in CHANGEABLE)
    may = f"{', '.join(first)} and {last}"
    command = shlex.join(["rbp", "train", "--like", run.id, *(override.word for override in overrides)])
    named = ", ".join(override.word for override in others)
    raise RunError(f"{named} cannot change when a run goes on ({why}), only {may} can: {command}")


def _changed(preset: "Preset", overrides: Sequence[Override], run: RunDirectory) -> "Preset":
    """The preset with the overrides, checked as a whole. Raises PresetError."""
    values = preset.model_dump()
    for override in overrides:
        section, _, name = override.key.partition(".")
        values[section][name] = override.value
    try:
        return parse_resolved(as_toml(values), run.preset_toml)
    except PresetError as error:
        words = {override.key: override.word for override in overrides}
        raise PresetError(error.source, [_in_words(problem, words) for problem in error.problems]) from None


def _in_words(problem: Problem, words: Mapping[str, str]) -> Problem:
    """A problem at the word that has its value, for the file of the run does not; `words` by their keys."""
    word = words.get(problem.key.partition("[")[0])
    return problem if word is None else dataclasses.replace(problem, line=None, source=word)


def _with_epochs(preset: "Preset", epochs: int) -> "Preset":
    return preset.model_copy(update={"train": preset.train.model_copy(update={"epochs": epochs})})


def _write(run: RunDirectory, preset: "Preset", **fields: Any) -> None:
    settings = preset.model_dump(exclude_none=True)
    write_json(run.run_json, load_json(run.run_json) | fields | {"settings": settings})
    _write_preset(run, preset)


def _write_preset(run: RunDirectory, preset: "Preset") -> None:
    write_atomic(run.preset_toml, resolved_toml(preset))
    # The user has agreed to this code before; with another preset it would be asked for again.
    trust.remember(run, Resources())


@contextlib.contextmanager
def _writing(run: RunDirectory) -> Iterator[None]:
    """Raise RunError where a file of the run cannot be written."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write {error.filename or run.path}: {error.strerror}") from error


@contextlib.contextmanager
def _alone(run: RunDirectory) -> Iterator[None]:
    """Prevent two commands from changing a run at the same time. Raises NothingToStart if another one is doing so."""
    with inside.folder(run.path, run.path) as folder:
        try:
            fcntl.flock(folder.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NothingToStart(f"{run.id} is being changed by another command at this moment") from None
        except OSError:  # some shared file systems have no such locks
            pass
        yield
