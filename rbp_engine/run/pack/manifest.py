"""The first member of a packed run: which files follow, with size and SHA-256. It is checked before anything else.

An archive holds exactly the files of its manifest, in its order. So whatever is wrong with names or sizes, with two
files of one name or with a million of them, is seen here before a byte is written.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from rbp_engine.codec import LARGEST, convert
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
NEEDED: Final = ("run.json", "preset.toml", "summary.json")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
#: Of `control/` only the numbers of the attempts outlive them; requests to stop are for a process that is there.
_KEPT_CONTROL: Final = re.compile(r"attempt-\d{1,9}")
#: Characters that some file systems cannot have in a name, or take for something else.
_ODD: Final = frozenset('\\:*?"<>|')


@dataclass(frozen=True)
class PackedFile:
    """A file of the run, by its path in the run's folder. `same_as` is an earlier one with the same contents, which is
    in the archive only once; empty if the contents follow."""

    name: str
    size: int
    sha256: str
    same_as: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a packed run holds; `weights` is which of its checkpoints, "best", "last", "all" or "none"."""

    id: str
    version: str
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
        files = [{key: value for key, value in asdict(file).items() if value != ""} for file in self.files]
        document = {"schema": SCHEMA, "id": self.id, "version": self.version, "weights": self.weights, "files": files}
        return f"{json_text(document, indent=1)}\n".encode()


def parse_manifest(content: bytes) -> Manifest:
    """The manifest in a text of anybody's. Raises RunError if an archive with it must not be unpacked."""
    try:
        value = parse_json(content, JSON_LIMIT)
        if not isinstance(value, dict):
            raise ValueError("it is not an object")
        if (schema := value.get("schema")) != SCHEMA:
            raise ValueError(f"it is of schema {one_line(repr(schema), 20)}, and this rbp reads {SCHEMA}")
        listed = value.get("files")
        if not isinstance(listed, list):
            raise ValueError("files is no list")
        if len(listed) > MOST_FILES:
            raise ValueError(f"it lists {len(listed)} files, and no run has more than {MOST_FILES}")
        files = convert(tuple[PackedFile, ...], listed)
        head = convert(_Head, value)
        manifest = Manifest(head.id, head.version, head.weights, files)
        check_run_id(manifest.id)
        _check(manifest.files)
    except (ValueError, RunError) as error:
        raise RunError(f"its manifest cannot be used: {error}") from None
    return manifest


@dataclass(frozen=True)
class _Head:
    """What a manifest says beside its files."""

    id: str
    version: str = ""
    weights: str = ""


def _check(files: Sequence[PackedFile]) -> None:
    """Raise ValueError for a file that no run has, or that two systems would take for different ones."""
    taken: dict[str, str] = {}
    folders: dict[str, str] = {}
    earlier: dict[str, PackedFile] = {}
    total = 0
    for file in files:
        if problem := name_problem(file.name):
            raise ValueError(f"{_shown(file.name)} {problem}")
        if not (type(file.size) is int and 0 <= file.size < LARGEST) or not _SHA256.fullmatch(file.sha256):
            raise ValueError(f"{_shown(file.name)} has no possible size or SHA-256")
        total += file.size
        key = _same_name(file.name)
        if key in taken:
            raise ValueError(f"{_shown(file.name)} and {_shown(taken[key])} are one name")
        taken[key] = file.name
        for end in [place for place, character in enumerate(file.name) if character == "/"]:
            folder = file.name[:end]
            if folders.setdefault(_same_name(folder), folder) != folder:
                raise ValueError(f"{_shown(folder)} and {_shown(folders[_same_name(folder)])} are one name")
        if file.same_as:
            first = earlier.get(file.same_as)
            if first is None or _shared(first) != _shared(file) or not may_share(file.name):
                raise ValueError(f"{_shown(file.name)} is not the same as {_shown(file.same_as)}")
        else:
            earlier[file.name] = file
    if both := taken.keys() & folders.keys():
        raise ValueError(f"{_shown(taken[min(both)])} is a file and a folder")
    if total > LARGEST_TOTAL:
        raise ValueError(f"its files have {total} bytes, and no run has more than {LARGEST_TOTAL}")
    if missing := [name for name in NEEDED if name not in earlier]:
        raise ValueError(f"it has no {', '.join(missing)}, so it is of no run")


def name_problem(name: str) -> str:
    """Why a run can have no file of this name, relative to its folder; empty if it can."""
    parts = name.split("/")
    if len(name.encode(errors="replace")) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} bytes"
    if len(parts) > DEEPEST:
        return f"is more than {DEEPEST} folders deep"
    if any(part in ("", ".", "..") for part in parts):
        return "leads out of the run, or is no path in it"
    if any(unicodedata.category(character)[0] in "CZ" and character != " " for character in name):
        return "has a character that cannot be shown"
    if _ODD & set(name) or any(part != part.strip(" ") or part.startswith(".") or part.endswith(".") for part in parts):
        return "is a name that no run gives to a file"
    if unicodedata.normalize("NFC", name) != name:
        return "is a name that some systems write in another way"
    if parts == [NAME]:
        return "is the name of the manifest"
    if parts[0] == "control" and not (len(parts) == 2 and _KEPT_CONTROL.fullmatch(parts[1])):
        return "is for a process that is no longer there"
    return ""


def _shared(file: PackedFile) -> tuple[str, int, str]:
    """What two files have in common of which one is in the archive."""
    return file.name.rpartition("/")[2], file.size, file.sha256


def may_share(name: str) -> bool:
    """Whether a file may be one with another of the same contents: those of checkpoints are never written again."""
    return name.startswith("checkpoints/")


def _same_name(name: str) -> str:
    """The name as file systems see it that know neither case nor ways to compose a character."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _shown(name: str) -> str:
    return str(one_line(repr(name), 80))
