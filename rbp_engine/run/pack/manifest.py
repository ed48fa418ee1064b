"""The first member of a packed run: which files follow, with size and SHA-256. It is checked before anything else.

An archive holds exactly the files of its manifest, in its order. So whatever is wrong with names or sizes, or with a
million files, is seen here before a byte is written.
"""

import re
import unicodedata
from dataclasses import asdict, dataclass
from typing import Final

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
    """A file of the run, by its path in the run's folder."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a packed run holds; `weights` is which of its checkpoints, "best", "last", "all" or "none"."""

    id: str
    weights: str
    files: tuple[PackedFile, ...]
    schema: int = SCHEMA

    @property
    def total(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)

    def as_json(self) -> bytes:
        return f"{json_text(asdict(self), indent=1)}\n".encode()


def parse_manifest(content: bytes) -> Manifest:
    """The manifest in a text of anybody's. Raises RunError if an archive with it must not be unpacked."""
    try:
        found = convert_verbatim(Manifest, parse_json(content, JSON_LIMIT))
        if found.schema != SCHEMA:
            raise ValueError(f"it is of schema {found.schema}, and this rbp reads {SCHEMA}")
        if len(found.files) > MOST_FILES:
            raise ValueError(f"it lists {len(found.files)} files, and no run has more than {MOST_FILES}")
        check_run_id(found.id)
        _check(found)
    except (ValueError, RunError) as error:
        raise RunError(f"its manifest cannot be used: {error}") from None
    return found


def _check(manifest: Manifest) -> None:
    """Raise ValueError for a file that no run has."""
    names: set[str] = set()
    for file in manifest.files:
        if problem := "is listed twice" if file.name in names else name_problem(file.name):
            raise ValueError(f"{_shown(file.name)} {problem}")
        if not (type(file.size) is int and 0 <= file.size < LARGEST) or not _SHA256.fullmatch(file.sha256):
            raise ValueError(f"{_shown(file.name)} has no possible size or SHA-256")
        names.add(file.name)
    if manifest.total > LARGEST_TOTAL:
        raise ValueError(f"its files have {manifest.total} bytes, and no run has more than {LARGEST_TOTAL}")
    if missing := [name for name in NEEDED if name not in names]:
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


def _shown(name: str) -> str:
    return str(one_line(repr(name), 80))
