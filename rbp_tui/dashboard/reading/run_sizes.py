"""What runs use on the disk: looked up a little at a time, and again only for runs that have changed."""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rbp_engine.run.store.store import RunRecord
from rbp_engine.run.store.trash import trash_directory

# A live run changes all the time.
LOOK_AGAIN_AFTER_S = 30.0
MOST_FILES, DEEPEST = 20_000, 8


@dataclass(frozen=True)
class RunSizes:
    """Bytes on the disk by run, and of all of the `trash`; `missing` counts the runs not looked at yet."""

    sizes: dict[str, int]
    missing: int
    trash: int

    @property
    def total(self) -> int:
        """The bytes of all runs that have been looked at."""
        return sum(self.sizes.values())


@dataclass(frozen=True)
class _Known:
    stamp: tuple[int, ...]
    looked: float
    size: int


class RunSizer:
    """Adds up the files of each run."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._known: dict[Path, _Known] = {}

    def read(self, records: Iterable[RunRecord], turn_s: float) -> RunSizes:
        """The sizes as far as they can be looked up in a turn, those of the newest runs first."""
        until = time.monotonic() + turn_s
        before, self._known = self._known, {}
        sizes, missing = {}, 0
        for record in sorted(records, key=lambda record: -record.summary.updated):
            size = self._size(record.run.path, before, until)
            if size is None:
                missing += 1
            else:
                sizes[record.run.id] = size
        trash = self._size(trash_directory(self.runs), before, until)
        return RunSizes(sizes, missing, trash or 0)

    def _size(self, folder: Path, before: dict[Path, _Known], until: float) -> int | None:
        """The bytes of a folder, as they were last time if it looks the same; None if there is no time to look."""
        known, now = before.get(folder), time.monotonic()
        if known is None or now - known.looked >= LOOK_AGAIN_AFTER_S:
            stamp = _stamp(folder)
            if known is not None and known.stamp == stamp:
                known = _Known(stamp, now, known.size)
            elif now < until:
                known = _Known(stamp, now, sum(_sizes(folder, DEEPEST, [MOST_FILES])))
        if known is not None:
            self._known[folder] = known
        return None if known is None else known.size


def _stamp(folder: Path) -> tuple[int, ...]:
    """What changes when files of a run are added, removed or replaced, or its events grow."""
    stamps = []
    for path in (folder, folder / "summary.json", folder / "checkpoints", folder / "events", folder / "ranks"):
        try:
            stamps.append(path.lstat().st_mtime_ns)
        except OSError:
            stamps.append(-1)
    return tuple(stamps)


def _sizes(folder: Path, deep: int, left: list[int]) -> Iterator[int]:
    """The bytes on the disk of each file below a folder, without following links; at most `left[0]` entries."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                left[0] -= 1
                if left[0] < 0:
                    return
                if entry.is_dir(follow_symlinks=False):
                    if deep:
                        yield from _sizes(Path(entry.path), deep - 1, left)
                else:
                    yield entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:  # it has gone, or may not be looked into
        return
