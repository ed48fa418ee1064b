"""Create the folder of a run that another program trains: of a preset, or of settings in a dictionary."""

import hashlib
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rbp_engine.preset import load_preset
from rbp_engine.run.files.layout import RunDirectory, new_run_id, write_atomic
from rbp_engine.run.files.resources import Resources
from rbp_engine.run.files.run_json import AttemptRecord, create_run_json, record_attempt
from rbp_engine.run.files.summary import Summary, write_summary
from rbp_engine.run.launch import launch, making
from rbp_engine.run.tracking.given_settings import SEED, GivenSettings, foreign_experiment, given_settings
from rbp_engine.untrusted_files import TEXT_LIMIT, read_untrusted

_METHOD = "tracked"  # in an id, where no method is known


@dataclass(frozen=True)
class Creation:
    """What is to be created. `command` is the program's, `program` its name, `file` its path, if it is one."""

    settings: str | Path | Mapping[Any, Any]
    overrides: Sequence[str]
    name: str
    tags: tuple[str, ...]
    runs: Path
    run_id: str | None
    program: str
    command: Sequence[str]
    file: str | None = None

    @property
    def trained_by(self) -> str:
        """The program's part of the experiment: its name and, as for code of one's own, the hash of its file."""
        try:
            code = read_untrusted(self.file or "", TEXT_LIMIT)
        except OSError:
            return self.program
        return f"{self.program} {hashlib.sha256(code).hexdigest()}"


def create_tracked(wanted: Creation) -> tuple[RunDirectory, int | None]:
    """Create a run whose first attempt is this process; the batch size, if it is known.

    Raises PresetError for a preset that cannot be loaded, RunError for settings that cannot be kept and for an id that
    is malformed or taken; RunError or OSError where nothing can be written.
    """
    run, batch = (_of_settings if isinstance(wanted.settings, Mapping) else _of_preset)(wanted)
    record = AttemptRecord(1, t=time.time(), command=[*wanted.command])
    run.claim(1).touch()
    record_attempt(run, record, Resources(), os.getpid())
    return run, batch


def _of_preset(wanted: Creation) -> tuple[RunDirectory, int | None]:
    assert not isinstance(wanted.settings, Mapping)
    loaded = load_preset(str(wanted.settings), wanted.overrides)
    given = loaded.preset.run
    named = loaded.with_run(name=wanted.name or given.name, tags=[*given.tags, *wanted.tags])
    loaded = replace(named, experiment=foreign_experiment(loaded.experiment, wanted.trained_by))
    run = launch.create(loaded, wanted.runs, run_id=wanted.run_id, command=wanted.command, program=wanted.program)
    return run, loaded.preset.data.batch_size


def _of_settings(wanted: Creation) -> tuple[RunDirectory, int | None]:
    assert isinstance(wanted.settings, Mapping)
    settings = given_settings(wanted.settings)
    toml, name = settings.toml(), wanted.name or Path(wanted.program).stem
    run = making.make_run(
        wanted.runs,
        wanted.run_id,
        lambda: new_run_id(name, settings.text("method.name") or _METHOD),
        lambda run, run_id: _write(run, run_id, wanted, settings, toml),
    )
    return run, settings.count("data.batch_size") or None


def _write(run: RunDirectory, run_id: str, wanted: Creation, settings: GivenSettings, toml: str) -> None:
    write_atomic(run.preset_toml, toml)
    experiment = settings.experiment(wanted.trained_by)
    summary = Summary(
        id=run_id,
        preset="",
        label=wanted.program,
        experiment=experiment,
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
    create_run_json(run, wanted.command, id=run_id, experiment=experiment, created=time.time())
