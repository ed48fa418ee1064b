"""The files with the stdout and stderr of a run's processes."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import RunStart
from rbp_engine.run.files.layout import RunDirectory

LAUNCHER = "launcher"
STREAMS = ("stdout.log", "stderr.log")


def log_files(run: RunDirectory, named: Mapping[int, str] = MappingProxyType({})) -> dict[str, tuple[Path, ...]]:
    """The existing stdout and stderr files of the newest attempt, by rank, "0", "1", …, and of the "launcher".

    A single process has `ranks/0`. torchrun makes `ranks/<id>_<random>/attempt_0/<local rank>` on each node; `named`
    holds the folders, relative to the run's, that ranks reported at their start, see `named_folders`. On several nodes
    a process that reported none is listed by node and local rank, as "1.0".
    """
    attempt = last_attempt(run)
    folders = {str(rank): run.path / folder for rank, folder in sorted(named.items())}
    for name, path in _torchrun_folders(run, attempt.t if attempt else None).items():
        if path not in folders.values():
            folders.setdefault(name, path)
    found = {name: files for name, folder in folders.items() if (files := _streams(run, folder))}
    if not found and (files := _streams(run, run.stdout().parent)):
        found["0"] = files
    launchers = tuple(sorted(run.ranks.glob(f"launcher-{attempt.attempt if attempt else 0}-node*.log")))
    return found | ({LAUNCHER: launchers} if launchers else {})


def named_folders(run: RunDirectory) -> dict[int, str]:
    """The log folders that the ranks of the newest attempt reported. Reads all events files."""
    newest = last_attempt(run)
    found: dict[int, str] = {}
    for path in run.events().parent.glob("rank*.jsonl"):
        with contextlib.suppress(RunError):  # the others may say where theirs are
            for event in read_events(path, [RunStart]):
                if isinstance(event.body, RunStart) and event.body.logs and newest and event.attempt == newest.attempt:
                    found[event.rank] = event.body.logs
    return found


def _torchrun_folders(run: RunDirectory, started: float | None) -> dict[str, Path]:
    """The folders that torchrun has made since the attempt `started`, or all of them if that is None."""
    found: dict[str, Path] = {}
    try:
        made = sorted((path.stat().st_mtime, path) for path in run.ranks.glob("*/attempt_0") if path.is_dir())
        nodes = [path for t, path in made if started is None or t >= started - 1.0]
        for number, node in enumerate(nodes):
            prefix = f"{number}." if len(nodes) > 1 else ""
            local = sorted((path for path in node.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
            found |= {f"{prefix}{path.name}": path for path in local}
    except OSError:  # the run has just been removed
        return {}
    return found


def _streams(run: RunDirectory, folder: Path) -> tuple[Path, ...]:
    """The log files in a folder; none if it lies outside the run, as a run from elsewhere may claim."""
    try:
        if not folder.resolve().is_relative_to(run.ranks.resolve()):
            return ()
        return tuple(path for name in STREAMS if (path := folder / name).is_file())
    except (OSError, RuntimeError, ValueError):  # a name that is too long, a link to itself, or no name at all
        return ()
