"""The first member of a packed run: which files follow, with size and SHA-256. It is checked before anything else.

An archive holds exactly the files of its manifest, in its order. So whatever is wrong with names or sizes, with two
files of one name or with a million of them, is seen here before a byte is written.
"""

import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rbp_engine.codec import LARGEST, convert_verbatim
from rbp_engine.printable import one_line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import check_run_id, json_text
from rbp_engine.untrusted_files import JSON_LIMIT, parse_json

SCHEMA: Final = 1
NAME: Final = "manifest.json"
#: Of 1024 processes a run has three files each, and as many in each of its checkpoints.
MOST_FILES: Final = 20_000
LARGEST_TOTAL: Final = 2**40  # bytes
LONGEST_NAME: Final = 200  # bytes
DEEPEST: Final = 6
#: Without these it is no run.
NEEDED: Final = ("run.json", "preset.toml")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
#: A name in a folder: not hidden, and none that some file systems cannot have or take for something else.
_PART: Final = re.compile(r'(?![. ])[^\\:*?"<>|]+(?<![. ])')


@dataclass(frozen=True)
class PackedFile:
    """A file of the run, by its path in the run's folder. `same_as` is an earlier one with the same contents, which is
    in the archive only once; empty if the contents follow."""

    name: str
    size: int
    sha256: str
    same_as: str = ""

    @property
    def key(self) -> tuple[str, int, str]:
        """What two files have in common of which one is in the archive."""
        return self.name.rpartition("/")[2], self.size, self.sha256


@dataclass(frozen=True)
class Manifest:
    """What a packed run holds; `weights` is which of its checkpoints, "best", "last", "all" or "none"."""

    id: str
    weights: str
    files: tuple[PackedFile, ...]

    @property
    def total(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def stored(self) -> list[PackedFile]:
        """The files whose contents are in the archive."""
        return [file for file in self.files if not file.same_as]

    def as_json(self) -> bytes:
        return f"{json_text({'schema': SCHEMA} | asdict(self), indent=1)}\n".encode()


@dataclass(frozen=True)
class _Document:
    """A manifest as it is read, before its files are."""

    schema: int
    id: str
    weights: str
    files: list[Any]


def parse_manifest(content: bytes) -> Manifest:
    """The manifest in a text of anybody's. Raises RunError if an archive with it must not be unpacked."""
    try:
        found = convert_verbatim(_Document, parse_json(content, JSON_LIMIT))
        if found.schema != SCHEMA:
            raise ValueError(f"it is of schema {found.schema}, and this rbp reads {SCHEMA}")
        if len(found.files) > MOST_FILES:
            raise ValueError(f"it lists {len(found.files)} files, and no run has more than {MOST_FILES}")
        files = convert_verbatim(tuple[PackedFile, ...], found.files)
        check_run_id(found.id)
        _check(files)
    except (ValueError, RunError) as error:
        raise RunError(f"its manifest cannot be used: {error}") from None
    return Manifest(found.id, found.weights, files)


def _check(files: Sequence[PackedFile]) -> None:
    """Raise ValueError for a file that no run has, or that two systems would take for different ones."""
    spelled: dict[str, str] = {}  # each file and folder (this with "/") by how systems see it that know no case
    stored: dict[str, PackedFile] = {}
    for file in files:
        if problem := name_problem(file.name):
            raise ValueError(f"{_shown(file.name)} {problem}")
        if not (type(file.size) is int and 0 <= file.size < LARGEST) or not _SHA256.fullmatch(file.sha256):
            raise ValueError(f"{_shown(file.name)} has no possible size or SHA-256")
        for folder in itertools.accumulate(f"{part}/" for part in file.name.split("/")[:-1]):
            if (other := spelled.setdefault(_same_name(folder[:-1]), folder)) != folder:
                raise ValueError(f"{_shown(folder)} and {_shown(other)} are one name")
        if other := spelled.get(_same_name(file.name), ""):
            raise ValueError(f"{_shown(file.name)} and {_shown(other)} are one name")
        spelled[_same_name(file.name)] = file.name
        if not file.same_as:
            stored[file.name] = file
        elif (first := stored.get(file.same_as)) is None or not may_share(file.name) or first.key != file.key:
            raise ValueError(f"{_shown(file.name)} is not the same as {_shown(file.same_as)}")
    if (total := sum(file.size for file in files)) > LARGEST_TOTAL:
        raise ValueError(f"its files have {total} bytes, and no run has more than {LARGEST_TOTAL}")
    if missing := [name for name in NEEDED if name not in stored]:
        raise ValueError(f"it has no {', '.join(missing)}, so it is of no run")


def name_problem(name: str) -> str:
    """Why a run can have no file of this name, relative to its folder; empty if it can."""
    parts = name.split("/")
    if len(name.encode(errors="replace")) > LONGEST_NAME or len(parts) > DEEPEST:
        return f"is longer than {LONGEST_NAME} bytes, or more than {DEEPEST} folders deep"
    if not name.isprintable() or not all(map(_PART.fullmatch, parts)) or not unicodedata.is_normalized("NFC", name):
        return "is a name that no run gives to a file"
    if parts == [NAME]:
        return "is the name of the manifest"
    if parts[0] == "control":  # requests to stop, room that is reserved
        return "is for a process that is no longer there"
    return ""


def may_share(name: str) -> bool:
    """Whether a file may be one with another of the same contents: those of checkpoints are never written again."""
    return name.startswith("checkpoints/")


def _same_name(name: str) -> str:
    """The name as file systems see it that know neither case nor ways to compose a character."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _shown(name: str) -> str:
    return str(one_line(repr(name), 80))
