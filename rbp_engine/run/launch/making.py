"""The folder of a new run is made under a name that no reader takes for a run, and given its own when it is whole.

A process that is killed in between leaves something that nobody sees, and that is removed an hour later.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from rbp_engine.disk import sync
from rbp_engine.run.files.layout import RunDirectory

PREFIX = ".new-"
STALE_S = 3600.0
# For so long after it was touched last, a run that is half-made may still be being made, by an older version.
UNTOUCHED_S = 10.0
# What earlier versions made in place, and the temporary files of it.
_PARTS = re.compile(
    r"control|checkpoints|events|ranks|code|\.?(preset\.toml|summary\.json|run\.json)(\.\d+-[0-9a-f]+)?"
)


def make_hidden(runs: Path) -> Path:
    """A folder for a run that is being made, in the runs directory, which is made where it is missing.

    What has been left there for an hour is removed. Raises OSError.
    """
    missing = [path for path in (runs, *runs.parents) if not path.exists()]
    runs.mkdir(parents=True, exist_ok=True)
    for path in missing:
        with contextlib.suppress(OSError):  # a folder that may be written and not read
            sync(path.parent)
    hidden = runs / f"{PREFIX}{secrets.token_hex(6)}"
    hidden.mkdir()
    now = hidden.stat().st_mtime  # by the clock of the disk: several hosts may share it
    for path in runs.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > STALE_S:
                shutil.rmtree(path, ignore_errors=True)
    return hidden


def give_name(hidden: Path, run: RunDirectory) -> bool:
    """Force a run onto the disk and give it its name, in one step; False where that is taken. Raises OSError.

    A half-made run of that name that nobody is making any more makes room.
    """
    for folder, _, files in os.walk(hidden):
        for path in (*(Path(folder) / name for name in files), Path(folder)):
            sync(path)
    with _alone(hidden.parent):
        if is_left_half_made(run, hidden.stat().st_mtime):
            aside = hidden.with_name(f"{PREFIX}{secrets.token_hex(6)}")
            run.path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        try:
            hidden.rename(run.path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return False
            raise
    sync(run.path.parent)
    return True


def is_half_made(run: RunDirectory) -> bool:
    """Whether a folder is that of a run whose making was cut short: something is missing, and nothing was begun."""
    if not run.path.is_dir() or run.path.is_symlink():
        return False
    files = (run.run_json, run.summary_json, run.preset_toml)
    folders = (run.control, run.checkpoints, run.events().parent, run.stdout().parent)
    whole = all(path.is_file() for path in files) and all(path.is_dir() for path in folders)
    if whole or not all(_PARTS.fullmatch(path.name) for path in run.path.iterdir()):
        return False
    return not any(True for folder in (run.control, run.checkpoints, run.events().parent) for _ in folder.glob("*"))


def is_left_half_made(run: RunDirectory, now: float) -> bool:
    """Whether that is so, and whoever made it is gone, as the times of its files tell.

    `now` is by the clock of the disk. A time that lies in the future is from before the clock was set back.
    """
    try:
        if not is_half_made(run):
            return False
        touched = max(path.stat().st_mtime for path in (run.path, *run.path.iterdir()))
    except OSError:  # it is going away, or is none of ours to look into
        return False
    return not 0.0 <= now - touched < UNTOUCHED_S


@contextlib.contextmanager
def _alone(runs: Path) -> Iterator[None]:
    """Nobody else takes over a half-made run meanwhile: it could be this one's, which is whole by then."""
    descriptor = os.open(runs, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a shared file system that has no such locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
