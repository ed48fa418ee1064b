"""What may be other when a run goes on: its length, by a fork; budgets, alerts and saving, in its next attempt.

The run itself never changes. More epochs make another run of it, `RUN-400`, with its newest checkpoint, linked, and its
events and attempts so far, copied. The learning rate follows the schedule of the new length from there on. The result
is that of neither length, so origin and step are part of the fork's experiment, and it is listed as `200→400 epochs`.
"""

import contextlib
import hashlib
import itertools
import json
import os
import shlex
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rbp_engine.guard.time_span import doubled
from rbp_engine.preset import PresetError, read_resolved
from rbp_engine.preset.fields import role_of
from rbp_engine.preset.overrides import Override, parse_overrides, short_name
from rbp_engine.preset.resolved import as_toml
from rbp_engine.printable import visible
from rbp_engine.run import trust
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import NothingToStart, RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.attempts import Asked, Ended, last_attempt, load_attempt, newest_attempt
from rbp_engine.run.files.event_reader import announced_checkpoint
from rbp_engine.run.files.layout import RunDirectory, by_step, contents, load_json, write_atomic, write_json
from rbp_engine.run.files.run_json import Resources, load_run_json
from rbp_engine.run.files.summary import fold, load_summary, write_summary
from rbp_engine.run.launch import making
from rbp_engine.run.launch.launch import check_world_size
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

EPOCHS: Final = "train.epochs"
#: What may change when a run goes on: its length, its budgets, what it tells of, and how often it saves.
CHANGEABLE: Final = (EPOCHS, "train.checkpoint_every", "guard.max_time", "guard.max_steps", "guard.alerts")


def preset_in_force(run: RunDirectory, overrides: Sequence[Override] = ()) -> "Preset":
    """The preset of a run with what its newest attempt has changed, and `overrides`. Raises PresetError."""
    attempt = last_attempt(run)
    changed = attempt.changed if attempt is not None else {}
    before = [Override(key, value, f"{key}={value}") for key, value in changed.items()]
    return read_resolved(run.preset_toml, [*before, *overrides])


def larger_budgets(run: RunDirectory) -> list[str]:
    """The budgets of a run, twice as large; none if its preset cannot be read."""
    try:
        guard = preset_in_force(run).guard
    except PresetError:
        return []
    time = [f"guard.max_time={doubled(guard.max_time)}"] if guard.max_time else []
    return time + ([f"guard.max_steps={2 * guard.max_steps}"] if guard.max_steps else [])


def go_on(
    run: RunDirectory,
    words: Sequence[str],
    asked: Asked | None = None,
    require_trust: Callable[[], object] = lambda: None,
) -> tuple[RunDirectory, dict[str, Any]]:
    """The run that is to go on where these settings are typed, and those that change in its next attempt.

    With `epochs=400` it is the fork of that length, which is made unless it exists, else the run itself. Once nothing
    else prevents that, `require_trust` may.

    Raises PresetError for invalid words, NothingToStart if the run is live, and RunError for a setting that cannot
    change, a shorter length, a run without a checkpoint, one that would end again at once, or for other processes if it
    is to be started as `asked`.
    """
    overrides, problems = parse_overrides(words)
    if problems:
        raise PresetError(run.id, problems)
    _refuse_others(run, overrides)
    values = {override.key: override.value for override in overrides}
    new = preset_in_force(run, overrides)
    if judge(run).cause is Cause.BUDGET and 0 < new.guard.max_steps <= load_summary(run).step:
        raise RunError(f"{run.id} has used up guard.max_steps = {new.guard.max_steps}: give it a larger one")
    epochs, was = values.pop(EPOCHS, None), load_summary(run).epochs
    if epochs is None or new.train.epochs == was:
        return run, values
    if new.train.epochs < was:
        raise RunError(
            f"{run.id} is made for {was} epochs, and cannot become shorter: "
            f"rbp train --like {run.id} epochs={new.train.epochs}"
        )
    return _fork(run, new, asked, require_trust), values


def _fork(run: RunDirectory, new: "Preset", asked: Asked | None, require_trust: Callable[[], object]) -> RunDirectory:
    """The fork of a run that trains for the epochs of `new`; it is made unless it exists."""
    origin, epochs = load_run_json(run), new.train.epochs
    base = run.id.removesuffix(f"-{origin.epochs}") if origin.origin else run.id
    fork = RunDirectory(run.path.with_name(f"{base}-{epochs}"))
    if not os.path.lexists(fork.path):
        step, longer = _step_to_go_on_from(run, new), Override(EPOCHS, epochs, f"epochs={epochs}")
        if asked is not None:
            check_world_size(run, asked.resources, inexact=asked.inexact)
        require_trust()
        history = json.dumps([origin.experiment, origin.epochs, step, epochs])
        described = load_json(run.run_json) | {
            "id": fork.id,
            "experiment": hashlib.sha256(history.encode()).hexdigest(),
            "epochs": epochs,
            "created": time.time(),
            "command": shlex.join(["rbp", "resume", run.id, f"epochs={epochs}"]),
            "origin": run.id,
            "origin_epochs": origin.epochs,
            "origin_step": step,
            "sweep": None,
            "settings": read_resolved(run.preset_toml, [longer]).model_dump(exclude_none=True),
        }
        try:
            making.make_run(run.path.parent, fork.id, lambda: fork.id, lambda made, _: _write(run, made, described))
        except RunError:
            if not fork.run_json.is_file():  # else somebody else has just made it
                raise
    if load_run_json(fork).origin != run.id:
        raise RunError(f"{fork.id} is in the way: it is no run of {run.id} that was trained longer")
    return fork


def _write(run: RunDirectory, fork: RunDirectory, described: dict[str, Any]) -> None:
    """Write a fork into its folder: what the run was made with, and what it has reached."""
    write_atomic(fork.preset_toml, as_toml(described["settings"]))
    write_json(fork.run_json, described)
    number = newest_attempt(run)
    events = itertools.takewhile(lambda path: inside.exists(path, run.path), map(run.events, itertools.count()))
    _bring(run, [*map(run.attempt, range(1, number + 1)), *events], fork)
    checkpoint = run.checkpoints / f"step-{described['origin_step']:08d}"
    _bring(run, [*_files_in(run.code), *_files_in(run.tensorboard)], fork)
    _bring(run, [*_files_in(checkpoint), *_files_in(run.best), run.teacher], fork, link=True)
    if number:
        reason = "made for epochs={origin_epochs}, goes on from step {origin_step} to epoch {epochs}".format(
            **described
        )
        ended = Ended("stopped", Cause.REQUEST, visible(reason), described["created"])
        write_json(fork.attempt(number), asdict(replace(load_attempt(fork, number), ended=ended)))
    write_summary(fork, fold(fork))
    trust.remember(fork, Resources())  # the user has agreed to this code before


def _files_in(folder: Path) -> list[Path]:
    """The files in a folder and those below it; none if there is no such folder."""
    return [path for path, found in contents(folder) if not stat.S_ISDIR(found.st_mode)]


def _bring(run: RunDirectory, files: Iterable[Path], fork: RunDirectory, *, link: bool = False) -> None:
    """Copy files of the run, as far as they exist, or `link` those that are never written again."""
    for file in files:
        target = fork.path / file.parent.relative_to(run.path)
        with (
            contextlib.suppress(FileNotFoundError),
            inside.folder(file.parent, run.path) as source,
            inside.folder(target, fork.path, make=True) as there,
        ):
            (source.link if link else source.copy)(file.name, there)


def _step_to_go_on_from(run: RunDirectory, new: "Preset") -> int:
    """The step of the newest checkpoint. Raises what `go_on` does."""
    if (verdict := judge(run)).live:
        raise NothingToStart(f"{run.id} is {verdict.status}: stop it first, with rbp stop {run.id}")
    processes.refuse_remaining(run)
    old = preset_in_force(run)
    if verdict.cause is Cause.EARLY_STOP:
        raise RunError(
            f"{run.id} would be ended again at once by its early stop: "
            f"rbp train --like {run.id} epochs={new.train.epochs} guard.early_stop=0"
        )
    if verdict.cause is Cause.BUDGET and new.guard == old.guard:
        raise RunError(
            f"the budget of {run.id} is used up, which would end it again at once: give it a larger one with "
            "the epochs, as guard.max_time=8h or guard.max_steps=0"
        )
    newest, announced = run.newest_checkpoint, announced_checkpoint(run)
    name = max(filter(None, (newest.name if newest else None, announced)), key=by_step, default=None)
    if name is None:
        raise RunError(f"{run.id} has no checkpoint to go on from: rbp train --like {run.id} epochs={new.train.epochs}")
    if not inside.exists(run.checkpoints / name, run.path):
        raise RunError(
            f"{name} was saved and is not in {run.checkpoints}: a prune or a pack may have left it out, or its disk is "
            "not mounted or not whole"
        )
    return int(name.removeprefix("step-"))


def _refuse_others(run: RunDirectory, overrides: Sequence[Override]) -> None:
    """Raise RunError, with all of the settings that are fixed in a run, and the command of a new one."""
    others = [override for override in overrides if override.key not in CHANGEABLE]
    if not others:
        return
    of_result = any(role_of(override.key) == "result" for override in others)
    why = "it would be another experiment" if of_result else "a run keeps the settings that it was made with"
    *first, last = map(short_name, CHANGEABLE)
    may = f"{', '.join(first)} and {last}"
    command = shlex.join(["rbp", "train", "--like", run.id, *(override.word for override in overrides)])
    named = ", ".join(override.word for override in others)
    raise RunError(f"{named} cannot change when a run goes on ({why}), only {may} can: {command}")
