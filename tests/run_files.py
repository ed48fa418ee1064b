"""The files of a run of which a test needs no more than what it names."""

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rbp_engine import os_process
from rbp_engine.run.files.attempts import AttemptRecord
from rbp_engine.run.files.events import Body
from rbp_engine.run.files.layout import RunDirectory, read_json, write_json
from rbp_engine.run.files.run_json import FORMAT
from rbp_engine.run.files.summary import IDENTITY, Summary, load_summary
from rbp_engine.run.writer import EventWriter


def write_identity(run: RunDirectory, summary: Summary, **fields: Any) -> None:
    """Write a run.json that says of the run what its summary does, with other `fields`."""
    run.path.mkdir(parents=True, exist_ok=True)
    known = {name: getattr(summary, name) for name in IDENTITY}
    write_json(run.run_json, {"format": FORMAT, "settings": {}} | known | {"id": run.id} | fields)


def recorded(folder: Path) -> dict[str, Any]:
    """What the run in a folder is, and what it has reached."""
    return load_summary(RunDirectory(folder)).as_json()


def change_identity(run: RunDirectory, **fields: Any) -> None:
    """Change fields of run.json, as nothing else does."""
    write_json(run.run_json, read_json(run.run_json) | fields)


def change_summary(run: RunDirectory, **fields: Any) -> None:
    """Change fields of summary.json, also those that a writer sets to now."""
    write_json(run.summary_json, read_json(run.summary_json) | fields)


def change_fields(run: RunDirectory, **fields: Any) -> None:
    """Change fields of what lists show, each in the file that it is read from."""
    change_identity(run, **{name: value for name, value in fields.items() if name in IDENTITY})
    change_summary(run, **{name: value for name, value in fields.items() if name not in IDENTITY})


def write_attempt(run: RunDirectory, number: int = 1, **fields: Any) -> None:
    """Write the record of an attempt, by default of this process and of now."""
    record = asdict(AttemptRecord(number, os_process.here(), os_process.here(), time.time()))
    run.attempts.mkdir(exist_ok=True)
    write_json(run.attempt(number), record | fields)


def tell(
    run: RunDirectory, *bodies: Body, step: int | None = None, attempt: int = 1, rank: int = 0, now: float | None = None
) -> None:
    """Write events as the worker of this rank does, at one step or at one after another from 1."""
    writer = EventWriter(run.events(rank), attempt, rank)
    for number, body in enumerate(bodies, start=1):
        writer.write(body, number if step is None else step, now)
    writer.close()


def contents(folder: Path) -> dict[str, bytes | str]:
    """Everything below a folder: contents of files, targets of links, nothing of other things."""
    found: dict[str, bytes | str] = {}
    for root, folders, files in os.walk(folder):
        for path in (Path(root, name) for name in (*folders, *files)):
            plain = path.read_bytes() if path.is_file() else ""
            found[str(path.relative_to(folder))] = str(path.readlink()) if path.is_symlink() else plain
    return found
