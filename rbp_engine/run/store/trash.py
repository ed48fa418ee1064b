"""The trash: removed runs that can be restored. It lies beside the runs directory, which contains only runs."""

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rbp_engine.run import trust
from rbp_engine.run.errors import RunError, cannot
from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import ID, RunDirectory, load_json, write_json
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.summary import Summary, read_summary
from rbp_engine.run.store.store import find_run, is_run, require_removable, run_names

# What distinguishes a run in the trash from another of the same id.
_ANOTHER = re.compile(r"\.[0-9a-f]{4}$")


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
    try:
        return _trashed(_moved(run))
    except OSError as error:
        why = "it is on another file system" if error.errno == errno.EXDEV else error.strerror
        raise RunError(
            f"cannot move {run.id} to {trash_directory(run.path.parent)}: {why}; "
            f"rbp runs rm --now {run.id} deletes it for good"
        ) from error


def remove_run(run: RunDirectory) -> None:
    """Delete a run that has ended for good. Raises RunError if it is live or cannot be deleted.

    It goes by the trash, so that nobody sees half of it among the runs; if this process is killed, `rbp runs restore`
    lists what is left.
    """
    require_removable(run)
    with contextlib.suppress(OSError, trust.Untrusted):  # where there can be no trash, it is deleted where it is
        run = _moved(run)
    with cannot(f"remove {run.path}"):
        _delete(run.path)


def _moved(run: RunDirectory) -> RunDirectory:
    """Where a run is after it was moved to the trash. Raises OSError, and Untrusted for a trash of somebody else's."""
    trash = trash_directory(run.path.parent)
    trust.require_place(trash)
    trash.mkdir(exist_ok=True)
    target = trash / run.id
    while target.exists():  # another run with that id is already in the trash
        target = trash / f"{run.id[:110]}.{secrets.token_hex(2)}"
    if read_run_json(run).id not in ("", run.id):  # a copy: from here on, its file says how it is called
        write_json(run.run_json, load_json(run.run_json) | {"id": run.id}, run.path)
    os.utime(run.path)  # the time of removal
    run.path.rename(target)
    return RunDirectory(target)


def _delete(folder: Path) -> None:
    """Delete a run's folder, at last the file by which it is listed; a link or a file in its place. Raises OSError."""
    with (
        contextlib.suppress(FileNotFoundError),  # somebody else is deleting it, too
        inside.folder(folder.parent, folder.parent) as trash,
    ):
        if folder.is_dir() and not folder.is_symlink():
            with trash.folder(folder.name) as opened:
                for name in opened.names():
                    if name != RunDirectory(folder).run_json.name:
                        opened.delete(name)
        trash.delete(folder.name)


def list_trash(runs: Path) -> list[TrashedRun]:
    """The runs in the trash, the earliest removed first, also what is left of one that was half deleted."""
    trash = trash_directory(runs)
    found = [_trashed(RunDirectory(trash / name)) for name in run_names(trash) if (trash / name).is_dir()]
    return sorted(found, key=lambda entry: (entry.removed, entry.run.id))


def restore(runs: Path, reference: str) -> RunDirectory:
    """Restore a run, given by id (the last removed one), unique prefix, last four characters or name, or `last`.

    Raises RunError if there is none, or if a run with its id exists by now.
    """
    entries = [entry for entry in list_trash(runs) if is_run(entry.run)]
    matching = entries if reference == "last" else [entry for entry in entries if entry.id == reference]
    entry = matching[-1] if matching else _trashed(find_run(trash_directory(runs), reference, "rbp runs restore"))
    trust.require_place(runs)
    trust.require_place(trash_directory(runs))
    target = runs.resolve() / entry.id
    if target.exists():
        raise RunError(f"a run {entry.id} exists in {runs}")
    with cannot(f"move {entry.run.path} to {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        entry.run.path.rename(target)
    return RunDirectory(runs / entry.id)


def empty_trash(runs: Path, listed: Sequence[TrashedRun]) -> int:
    """Delete these runs in the trash for good, and no others; returns their number."""
    trust.require_place(trash_directory(runs))
    with cannot(f"empty {trash_directory(runs)}"):
        for entry in listed:
            _delete(entry.run.path)
    return len(listed)


def _trashed(run: RunDirectory) -> TrashedRun:
    recorded = read_run_json(run).id
    other = ID.fullmatch(recorded) and _ANOTHER.sub("", run.id) == recorded[:110]  # else a copy under a name of its own
    return TrashedRun(run, recorded if other else run.id, read_summary(run), run.path.stat().st_mtime)
