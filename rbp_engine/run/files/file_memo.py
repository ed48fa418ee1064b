"""What files hold, read again only when they have changed.

Parts of a command may then each ask for the same file, and loops that ask every second read only what is new.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from rbp_engine.run.files.layout import write_json
from rbp_engine.untrusted_files import JSON_LIMIT, read_untrusted

T = TypeVar("T")
Other = TypeVar("Other")
Stamp: TypeAlias = tuple[int, ...]

# More than any list of runs is long: one that does not fit would be read anew each time that somebody goes through it.
FILES_KEPT = 65_536


def stamp(path: str) -> Stamp:
    """What changes whenever a file is replaced or written. Raises OSError."""
    found = os.stat(path)  # noqa: PTH116  # a Path takes twice as long, and there are thousands
    return found.st_mtime_ns, found.st_size, found.st_ino


class FileMemo(Generic[T]):
    """Remembers what `parse` found in each file; a file counts as changed with its time, size or inode.

    Files are expected to be replaced as a whole. The values are shared: callers must not change them.
    """

    def __init__(self, parse: Callable[[bytes], T]) -> None:
        self._parse = parse
        self._known: dict[str, tuple[Stamp, T]] = {}

    def read(self, path: Path) -> T:
        """The value of a file. Raises OSError if it cannot be read, and what `parse` raises."""
        name = os.fspath(path)  # lists read thousands of files, and a Path makes its text anew each time
        now = stamp(name)  # before the read: the contents are then at least as new, and no change is missed
        known = self._known.get(name)
        if known is None or known[0] != now:
            known = (now, self._parse(read_untrusted(name, JSON_LIMIT)))
            if len(self._known) >= FILES_KEPT:
                self._known.clear()
            self._known[name] = known
        return known[1]

    def find(self, path: Path, otherwise: Other) -> T | Other:
        """The value of a file, to be shown; `otherwise` if it is missing, unreadable or damaged."""
        try:
            return self.read(path)
        except (OSError, ValueError):
            return otherwise

    def write(self, path: Path, value: dict[str, Any], below: Path | None = None) -> None:
        """Write the value of a file, as `write_json` does."""
        write_json(path, value, below)
        self.forget(path)

    def forget(self, path: Path) -> None:
        """Read the file anew next time: this process has just written it, perhaps within one tick of its clock."""
        self._known.pop(os.fspath(path), None)
