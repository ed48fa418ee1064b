"""What runs use on the disk: blocks, without following links; a file with several names in a run counts once."""

import functools
import itertools
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory, contents

MOST_FILES = 20_000
_BLOCK = 512
_RUNS_KEPT = 8192

Stamp: TypeAlias = tuple[int, ...]


def disk_use(folder: Path) -> int:
    """Add up everything below a folder, of a run or others: at most MOST_FILES. Raises RunError as `contents` does."""
    files = itertools.islice(_files(folder), MOST_FILES)
    return sum({(one.st_dev, one.st_ino): one.st_blocks * _BLOCK for one in files}.values())


def _files(folder: Path) -> Iterator[os.stat_result]:
    return (found for _, found in contents(folder) if not stat.S_ISDIR(found.st_mode))


def freed_by(folders: Iterable[Path]) -> int:
    """The bytes that the removal of folders of files frees: those of files that have no other name.

    Raises RunError as `contents` does.
    """
    names, files = Counter[tuple[int, int]](), {}
    for found in itertools.chain.from_iterable(map(_files, folders)):
        key = found.st_dev, found.st_ino
        names[key], files[key] = names[key] + 1, found
    return sum(files[key].st_blocks * _BLOCK for key, count in names.items() if count >= files[key].st_nlink)


def known_disk_use(run: RunDirectory) -> int | None:
    """The same as `disk_use`, added up again only if the run looks different from the last time; None if not all of it
    can be read."""
    try:
        return _disk_use(run.path, _stamp(run.path))
    except RunError:
        return None


@functools.lru_cache(maxsize=_RUNS_KEPT)
def _disk_use(folder: Path, _now: Stamp) -> int:
    return disk_use(folder)


def _stamp(folder: Path) -> Stamp:
    """What changes when files of a run are added, removed or replaced, or its events grow."""
    stamps = []
    for name in ("", "/summary.json", "/checkpoints", "/events", "/ranks"):
        try:
            stamps.append(os.lstat(f"{folder}{name}").st_mtime_ns)
        except OSError:
            stamps.append(-1)
    return tuple(stamps)
