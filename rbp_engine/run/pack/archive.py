"""The archive that a packed run is: of zip, without compression, with the run's files in a folder called like it.

Its directory lists all of them. So whatever is wrong with names or sizes, or with a million files, is seen here before
a byte is written.
"""

import contextlib
import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

from rbp_engine.printable import one_line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import check_run_id
from rbp_engine.untrusted_files import open_untrusted

#: Of 1024 processes a run has three files each, and as many in each of its checkpoints.
MOST_FILES: Final = 20_000
LARGEST_TOTAL: Final = 2**40  # bytes
LONGEST_NAME: Final = 200  # bytes
DEEPEST: Final = 6
#: Without these it is no run.
NEEDED: Final = ("run.json", "preset.toml")
#: A name in a folder: not hidden, and none that some file systems cannot have or take for something else.
_PART: Final = re.compile(r'(?![. ])[^\\:*?"<>|]+(?<![. ])')
#: Bytes that are read at once, as the directory is: 20 times that in memory, for 70,000 files.
LARGEST_PART: Final = 2**23
#: What reading an archive raises if it is none, or a damaged one.
UNUSABLE: Final = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    struct.error,
    zlib.error,
)


class _Bounded(BufferedReader):
    """A file of which nothing large is read at once, whatever it says of itself."""

    def read(self, size: int | None = -1) -> bytes:
        limit = LARGEST_PART + 1
        content = super().read(limit if size is None or size < 0 else min(size, limit))
        if len(content) == limit:
            raise ValueError(f"its directory or its pickle has more than {LARGEST_PART} bytes")
        return content


@contextlib.contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive of zip that may be anybody's. Raises OSError, and like reading it what is in UNUSABLE."""
    with _Bounded(open_untrusted(path).detach()) as file, zipfile.ZipFile(file) as archive:
        yield archive


@dataclass(frozen=True)
class Packed:
    """How many files a packed run has, and their bytes."""

    files: int
    size: int


def name_in(entry: zipfile.ZipInfo) -> str:
    """The path of a file in the run's folder."""
    return entry.filename.partition("/")[2]


def checked(archive: zipfile.ZipFile) -> tuple[str, Packed]:
    """The id of the run in an archive of anybody's, and what it holds. Raises RunError if it must not be unpacked."""
    entries = archive.infolist()
    folders = {entry.filename.partition("/")[0] for entry in entries}
    if len(folders) != 1:
        raise RunError("it is no packed run: its files are not in one folder (rbp runs pack makes one)")
    if len(entries) > MOST_FILES:
        raise RunError(f"it has {len(entries)} files, and no run has more than {MOST_FILES}")
    run_id = folders.pop()
    check_run_id(run_id)
    names: set[str] = set()
    for entry in entries:
        name = name_in(entry)
        problem = "is listed twice" if name in names else name_problem(name)
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            problem = problem or "is compressed, as rbp packs nothing"
        if problem:
            raise RunError(f"{one_line(repr(name), 80)} {problem}")
        names.add(name)
    packed = Packed(len(entries), sum(entry.file_size for entry in entries))
    if packed.size > LARGEST_TOTAL:
        raise RunError(f"its files have {packed.size} bytes, and no run has more than {LARGEST_TOTAL}")
    if missing := [name for name in NEEDED if name not in names]:
        raise RunError(f"it has no {', '.join(missing)}, so it is of no run")
    return run_id, packed


def name_problem(name: str) -> str:
    """Why a run can have no file of this name, relative to its folder; empty if it can."""
    parts = name.split("/")
    if len(name.encode(errors="replace")) > LONGEST_NAME or len(parts) > DEEPEST:
        return f"is longer than {LONGEST_NAME} bytes, or more than {DEEPEST} folders deep"
    if not name.isprintable() or not all(map(_PART.fullmatch, parts)) or not unicodedata.is_normalized("NFC", name):
        return "is a name that no run gives to a file"
    if parts[0] == "control":  # requests to stop, room that is reserved
        return "is for a process that is no longer there"
    return ""
