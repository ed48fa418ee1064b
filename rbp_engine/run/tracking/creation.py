"""Create the folder of a run that another program trains: of a preset, or of settings in a dictionary."""

import os
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rbp_engine.preset import load_preset
from rbp_engine.run import trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory, check_run_id, new_run_id, write_atomic
from rbp_engine.run.files.resources import Resources
from rbp_engine.run.files.run_json import AttemptRecord, create_run_json, record_attempt
from rbp_engine.run.files.summary import Summary, write_summary
from rbp_engine.run.launch import launch, making
from rbp_engine.run.tracking.given_settings import SEED, GivenSettings, foreign_experiment, given_settings

_METHOD = "tracked"  # in an id, where no method is known


@dataclass(frozen=True)
class Creation:
    """What is to be created. `command` is the program's, `program` its name."""

    settings: str | Path | Mapping[Any, Any]
    overrides: Sequence[str]
    name: str
    tags: tuple[str, ...]
    runs: Path
    run_id: str | None
    program: str
    command: Sequence[str]


def create_tracked(wanted: Creation) -> tuple[RunDirectory, int | None]:
    """Create a run whose first attempt is this process; the batch size, if it is known.

    Raises PresetError for a preset that cannot be loaded, RunError for settings that cannot be kept and for an id that
    is malformed or taken, OSError where nothing can be written.
    """
    if wanted.run_id is not None:
        check_run_id(wanted.run_id)
    run, batch = (_of_settings if isinstance(wanted.settings, Mapping) else _of_preset)(wanted)
    record = AttemptRecord(1, host=socket.gethostname(), t=time.time(), command=[*wanted.command])
    run.claim(1).touch()
    record_attempt(run, record, Resources(), os.getpid())
    return run, batch


def _of_preset(wanted: Creation) -> tuple[RunDirectory, int | None]:
    assert not isinstance(wanted.settings, Mapping)
    loaded = load_preset(str(wanted.settings), wanted.overrides)
    given = loaded.preset.run
    named = given.model_copy(update={"name": wanted.name or given.name, "tags": [*given.tags, *wanted.tags]})
    loaded = replace(
        loaded,
        preset=loaded.preset.model_copy(update={"run": named}),
        experiment=foreign_experiment(loaded.experiment),
    )
    run = launch.create(loaded, wanted.runs, run_id=wanted.run_id, command=wanted.command, program=wanted.program)
    return run, loaded.preset.data.batch_size


def _of_settings(wanted: Creation) -> tuple[RunDirectory, int | None]:
    assert isinstance(wanted.settings, Mapping)
    trust.require_place(wanted.runs)
    settings = given_settings(wanted.settings)
    toml = settings.toml()
    method = settings.text("method.name")
    name = wanted.name or Path(wanted.program).stem
    for _ in range(100):
        run = RunDirectory(wanted.runs / (wanted.run_id or new_run_id(name, method or _METHOD)))
        hidden = making.make_hidden(wanted.runs)
        try:
            _write(RunDirectory(hidden), run.id, wanted, settings, toml)
            if making.publish(hidden, run):
                return run, settings.count("data.batch_size") or None
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
        if wanted.run_id is not None:
            raise RunError(f"{run.path} exists already: use another id")
    raise RunError(f"no free id for a run in {wanted.runs}")


def _write(run: RunDirectory, run_id: str, wanted: Creation, settings: GivenSettings, toml: str) -> None:
    for folder in (run.control, run.checkpoints, run.events().parent, run.stdout().parent):
        folder.mkdir(parents=True)
    write_atomic(run.preset_toml, toml)
    summary = Summary(
        id=run_id,
        preset="",
        label=wanted.program,
        experiment=settings.experiment,
        method=settings.text("method.name"),
        timesteps=settings.count("method.timesteps"),
        seed=settings.count(SEED),
        epochs=settings.count("train.epochs"),
        name=wanted.name,
        tags=[*wanted.tags],
        program=wanted.program,
        host=socket.gethostname(),
    )
    write_summary(run, summary)
    create_run_json(run, wanted.command, id=run_id, experiment=settings.experiment, created=time.time())
