"""What runs use on the disk: blocks, without following links; a file with several names in a run counts once."""

import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias

from rbp_engine.run.files.layout import RunDirectory

MOST_FILES, DEEPEST = 20_000, 8
_BLOCK = 512
_RUNS_KEPT = 8192

Stamp: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class DiskUse:
    """Bytes of a run by what they are for; `best` is what the best checkpoint needs beside the others.

    `logs` is the output of the processes; `other` the preset, the summary, copies of code and whatever else is there.
    """

    checkpoints: int = 0
    best: int = 0
    events: int = 0
    tensorboard: int = 0
    logs: int = 0
    other: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, part.name) for part in fields(self))


def disk_use(run: RunDirectory) -> DiskUse:
    """Add up the files of a run: at most MOST_FILES, and no deeper than DEEPEST folders."""
    folders = {run.checkpoints: "checkpoints", run.events().parent: "events", run.tensorboard: "tensorboard",
               run.ranks: "logs"}  # fmt: skip
    adding = _Adding()
    found = Counter[str]()
    for name in adding.folders_in(run.path):
        folder = run.path / name
        best = [run.best.name] if folder == run.checkpoints else []
        found[folders.get(folder, "other")] += adding.below(folder, apart=best)
    if run.best.name in adding.folders_in(run.checkpoints) and not run.checkpoints.is_symlink():
        found["best"] = adding.below(run.best)
    found["other"] += adding.files_in(run.path)
    return DiskUse(**found)


def folder_size(folder: Path) -> int:
    """The bytes of everything below a folder, with the same limits."""
    return _Adding().below(folder)


def freed_by(folders: Iterable[Path]) -> int:
    """The bytes that the removal of folders of files frees: those of files that have no other name."""
    names, size, links = Counter[tuple[int, int]](), {}, {}
    for folder in folders:
        for root, _, files in os.walk(folder):
            for name in files:
                try:
                    found = os.lstat(os.path.join(root, name))  # noqa: PTH118  # as os.walk gives them
                except OSError:
                    continue
                key = found.st_dev, found.st_ino
                names[key] += 1
                size[key], links[key] = found.st_blocks * _BLOCK, found.st_nlink
    return sum(size[key] for key, count in names.items() if count >= links[key])


def known_disk_use(run: RunDirectory) -> DiskUse:
    """The same as `disk_use`, added up again only if the run looks different from the last time."""
    now = stamp(run.path)
    before = _known.get(run.path)
    if before is None or before[0] != now:
        if len(_known) >= _RUNS_KEPT:
            _known.clear()
        before = _known[run.path] = now, disk_use(run)
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


_known: dict[Path, tuple[Stamp, DiskUse]] = {}


class _Adding:
    """Adds up folders one after the other: what has been counted counts for no later one."""

    def __init__(self) -> None:
        self._left = MOST_FILES
        self._counted: set[tuple[int, int]] = set()

    def below(self, folder: Path, apart: Collection[str] = ()) -> int:
        """The bytes below a folder that have not been counted, without the folders in it that are `apart`."""
        return self._below(os.fspath(folder), DEEPEST, apart)

    def files_in(self, folder: Path) -> int:
        """The bytes of the files directly in a folder that have not been counted."""
        return self._below(os.fspath(folder), 0)

    def folders_in(self, folder: Path) -> list[str]:
        """The names of the folders in a folder, without links."""
        try:
            with os.scandir(folder) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError:
            return []

    def _below(self, folder: str, deep: int, apart: Collection[str] = ()) -> int:
        total = 0
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._left -= 1
                    if self._left < 0:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        total += self._below(entry.path, deep - 1) if deep and entry.name not in apart else 0
                        continue
                    found = entry.stat(follow_symlinks=False)
                    if (found.st_dev, found.st_ino) not in self._counted:
                        self._counted.add((found.st_dev, found.st_ino))
                        total += found.st_blocks * _BLOCK
        except OSError:  # it has gone, or may not be looked into
            pass
        return total
