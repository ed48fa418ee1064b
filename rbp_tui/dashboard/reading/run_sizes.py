"""What runs use on the disk: looked up a little at a time, and again only for runs that have changed."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rbp_engine.run.store.disk_use import Stamp, folder_size, stamp
from rbp_engine.run.store.store import RunRecord
from rbp_engine.run.store.trash import trash_directory

# A live run changes all the time.
LOOK_AGAIN_AFTER_S = 30.0


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
    stamp: Stamp
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
            seen = stamp(folder)
            if known is not None and known.stamp == seen:
                known = _Known(seen, now, known.size)
            elif now < until:
                known = _Known(seen, now, folder_size(folder))
        if known is not None:
            self._known[folder] = known
        return None if known is None else known.size
