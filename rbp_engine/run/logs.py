"""Which files hold what the processes of a run have written."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from rbp_engine.run.events import RunStart, read_events
from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.status import last_attempt

LAUNCHER = "launcher"
STREAMS = ("stdout.log", "stderr.log")


def log_files(run: RunDirectory, named: Mapping[int, str] = MappingProxyType({})) -> dict[str, tuple[Path, ...]]:
    """stdout and stderr of the newest attempt, as far as they are there: by rank, "0", "1", …, and torchrun's "launcher".

    A single process has `ranks/0`. torchrun makes `ranks/<id>_<random>/attempt_0/<local rank>` on each node; `named` are
    the folders, within the run's, that ranks have named at their start: `named_folders` reads them.
    """
    attempt = last_attempt(run)
    folders = {str(rank): run.path / folder for rank, folder in sorted(named.items())}
    for path in _torchrun_folders(run, attempt.get("t")):  # who failed early has not named one
        folders.setdefault(path.name, path)
    if not folders:
        folders = {"0": run.stdout().parent}
    found = {name: files for name, folder in folders.items() if (files := _streams(run, folder))}
    launchers = tuple(sorted(run.ranks.glob(f"launcher-{attempt.get('attempt')}-node*.log")))
    return found | ({LAUNCHER: launchers} if launchers else {})


def named_folders(run: RunDirectory) -> dict[int, str]:
    """The folders that the ranks of the newest attempt have named. Reads all events."""
    attempt, found = last_attempt(run).get("attempt"), {}
    for path in run.events().parent.glob("rank*.jsonl"):
        for event in read_events(path):
            if isinstance(event.body, RunStart) and event.body.logs and event.attempt == attempt:
                found[event.rank] = event.body.logs
    return found


def _torchrun_folders(run: RunDirectory, started: float | None) -> list[Path]:
    """The folders by local rank that torchrun has made since the attempt was started."""
    try:
        made = [(path.stat().st_mtime, path) for path in run.ranks.glob("*/attempt_0") if path.is_dir()]
        newest = [path for t, path in sorted(made, reverse=True) if started is None or t >= started - 1.0]
        local = [path for folder in newest for path in folder.iterdir() if path.name.isdigit()]
    except OSError:  # the run was removed at this moment
        return []
    return sorted(local, key=lambda path: int(path.name))


def _streams(run: RunDirectory, folder: Path) -> tuple[Path, ...]:
    """A folder that a stranger's run names must not lead out of the run."""
    if not folder.resolve().is_relative_to(run.ranks.resolve()):
        return ()
    return tuple(path for name in STREAMS if (path := folder / name).is_file())
