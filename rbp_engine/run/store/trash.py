"""The trash: removed runs that can be restored. It lies beside the runs directory, which contains only runs."""

import errno
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from rbp_engine.run import trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import ID, RunDirectory
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.summary import Summary, read_summary
from rbp_engine.run.store.store import find_run, require_removable, run_directories


@dataclass(frozen=True)
class TrashedRun:
    """A run in the trash; `id` is its original id, from which the folder's name may differ."""

    run: RunDirectory
    id: str
    summary: Summary | None
    removed: float


def trash_directory(runs: Path) -> Path:
    """`<runs>.trash`, on the same file system unless the runs directory is a mount point."""
    # A runs directory may be a link to a larger disk, and the trash must be on that disk.
    real = runs.resolve()
    return real.with_name(f"{real.name}.trash")


def move_to_trash(run: RunDirectory) -> TrashedRun:
    """Move a run that has ended to the trash. Raises RunError if it is live or cannot be moved."""
    require_removable(run)
    trash = trash_directory(run.path.parent)
    trust.require_place(trash)
    try:
        trash.mkdir(exist_ok=True)
        target = trash / run.id
        while target.exists():  # another run with that id is already in the trash
            target = trash / f"{run.id[:110]}.{secrets.token_hex(2)}"
        run.path.rename(target)
        os.utime(target)  # the time of removal
    except OSError as error:
        why = "it is on another file system" if error.errno == errno.EXDEV else error.strerror
        raise RunError(
            f"cannot move {run.id} to {trash}: {why}; rbp runs rm --now {run.id} deletes it for good"
        ) from error
    return _trashed(RunDirectory(target))


def list_trash(runs: Path) -> list[TrashedRun]:
    """The runs in the trash, the earliest removed first."""
    found = [_trashed(run) for run in run_directories(trash_directory(runs))]
    return sorted(found, key=lambda entry: (entry.removed, entry.run.id))


def restore(runs: Path, reference: str) -> RunDirectory:
    """Restore a run, given by id (the last removed one), unique prefix, last four characters or name, or `last`.

    Raises RunError if there is none, or if a run with its id exists by now.
    """
    entries = list_trash(runs)
    matching = entries if reference == "last" else [entry for entry in entries if entry.id == reference]
    entry = matching[-1] if matching else _trashed(find_run(trash_directory(runs), reference, "rbp runs trash"))
    trust.require_place(runs)
    trust.require_place(trash_directory(runs))
    target = runs.resolve() / entry.id
    if target.exists():
        raise RunError(f"a run {entry.id} exists in {runs}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        entry.run.path.rename(target)
    except OSError as error:
        raise RunError(f"cannot move {entry.run.path} to {target}: {error.strerror}") from error
    return RunDirectory(runs / entry.id)


def empty_trash(runs: Path) -> int:
    """Delete everything in the trash for good; returns the number of runs."""
    named = trash_directory(runs)
    trash = named.resolve()  # the user may have put it on another disk
    trust.require_place(named)
    count = len(list_trash(runs))
    # Rename the whole trash first: runs removed meanwhile go into a new one and are kept.
    removing = trash.with_name(f".{trash.name}.{secrets.token_hex(3)}")
    try:
        trash.rename(removing)
        if named.is_symlink():
            trash.mkdir(exist_ok=True)
        shutil.rmtree(removing)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise RunError(f"cannot empty {trash}: {error.strerror}") from error
    return count


def _trashed(run: RunDirectory) -> TrashedRun:
    recorded = read_run_json(run).id
    return TrashedRun(run, recorded if ID.fullmatch(recorded) else run.id, read_summary(run), run.path.stat().st_mtime)
