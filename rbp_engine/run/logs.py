"""Where the output of a process of a run is."""

from pathlib import Path

from rbp_engine.run.events import RunStart, read_events
from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.status import last_attempt


def log_files(run: RunDirectory, rank: int = 0) -> list[Path]:
    """stdout and stderr of a rank, of the newest attempt where every attempt has its own."""
    if last_attempt(run).get("world_size", 1) == 1:
        return [run.stdout(rank), run.stderr(rank)]
    folder = _told(run, rank) or _newest(run, rank)
    return [folder / "stdout.log", folder / "stderr.log"]


def _told(run: RunDirectory, rank: int) -> Path | None:
    """The folder that the rank itself has named when it started."""
    attempt = last_attempt(run).get("attempt")
    for event in reversed(read_events(run.events(rank))):
        if isinstance(event.body, RunStart) and event.body.logs and event.attempt == attempt:
            return run.path / event.body.logs
    return None


def _newest(run: RunDirectory, rank: int) -> Path:
    """The newest folder that torchrun has made for it: it may have failed before it could name one."""
    folders = run.ranks.glob(f"{run.id}_*/attempt_0/{rank}")
    return max(folders, key=lambda path: path.stat().st_mtime, default=run.stdout(rank).parent)
