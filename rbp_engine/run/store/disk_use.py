"""What runs use on the disk: blocks, without following links; a file with several names in a run counts once."""

import itertools
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from rbp_engine.run.files.layout import RunDirectory

MOST_FILES, DEEPEST = 20_000, 8
_BLOCK = 512
_RUNS_KEPT = 8192

Stamp: TypeAlias = tuple[int, ...]


def disk_use(folder: Path) -> int:
    """Add up everything below a folder, of a run or others: at most MOST_FILES, and no deeper than DEEPEST folders."""
    counted: set[tuple[int, int]] = set()
    return sum(_blocks(found, counted) for found in itertools.islice(_files(folder, DEEPEST), MOST_FILES))


def freed_by(folders: Iterable[Path]) -> int:
    """The bytes that the removal of folders of files frees: those of files that have no other name."""
    names, size, links = Counter[tuple[int, int]](), {}, {}
    for found in itertools.chain.from_iterable(_files(folder, DEEPEST) for folder in folders):
        if not stat.S_ISDIR(found.st_mode):
            key = found.st_dev, found.st_ino
            names[key] += 1
            size[key], links[key] = found.st_blocks * _BLOCK, found.st_nlink
    return sum(size[key] for key, count in names.items() if count >= links[key])


def known_disk_use(run: RunDirectory) -> int:
    """The same as `disk_use`, added up again only if the run looks different from the last time."""
    now = stamp(run.path)
    before = _known.get(run.path)
    if before is None or before[0] != now:
        if len(_known) >= _RUNS_KEPT:
            _known.clear()
        before = _known[run.path] = now, disk_use(run.path)
    return before[1]


def stamp(folder: Path) -> Stamp:
    """What changes when files of a run are added, removed or replaced, or its events grow."""
    stamps = []
    for name in ("", "/summary.json", "/checkpoints", "/events", "/ranks"):
        try:
            stamps.append(os.lstat(f"{folder}{name}").st_mtime_ns)
        except OSError:
            stamps.append(-1)
    return tuple(stamps)


_known: dict[Path, tuple[Stamp, int]] = {}


def _files(folder: Path | str, deep: int) -> Iterator[os.stat_result]:
    """What is in a folder, and in the folders in it."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.stat(follow_symlinks=False)
                if deep and entry.is_dir(follow_symlinks=False):
                    yield from _files(entry.path, deep - 1)
    except OSError:  # it has gone, or may not be looked into
        return


def _blocks(found: os.stat_result, counted: set[tuple[int, int]]) -> int:
    """The bytes of a file that has not been counted."""
    key = found.st_dev, found.st_ino
    if stat.S_ISDIR(found.st_mode) or key in counted:
        return 0
    counted.add(key)
    return found.st_blocks * _BLOCK
