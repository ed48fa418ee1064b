"""What a packed run may hold: an archive of zip, without compression, with the run's files in a folder called like it.

Its directory lists all of them. So whatever is wrong with names or sizes, or with a million files, is seen here before
a byte is written. So is whether a file that came with somebody else's run is what its name says: weights, and no pickle
in their place. What loads them executes nothing either (`torch.load(weights_only=True)`, safetensors); a file that
would try is refused all the same, so that no other program finds it in a run.
"""

import contextlib
import pickletools
import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Final

from rbp_engine.printable import one_line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import MOST_ATTEMPTS
from rbp_engine.run.files.layout import CACHE, CHECKPOINT, check_run_id
from rbp_engine.untrusted_files import open_untrusted

#: Of 1024 processes a run has three files each, and as many in each of its checkpoints.
MOST_FILES: Final = 20_000
LARGEST_TOTAL: Final = 2**40  # bytes
LONGEST_NAME: Final = 200  # bytes
DEEPEST: Final = 6
#: Without these it is no run.
NEEDED: Final = ("run.json", "preset.toml")
#: A name in a folder: not hidden, and none that some file systems cannot have or take for something else.
_PART: Final = re.compile(rf'(?![. ]|{CACHE}$)[^\\:*?"<>|]+(?<![. ])')
_ATTEMPT: Final = re.compile(r"attempts/(\d+)\.json")
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
_CHECKPOINT: Final = re.compile(rf"checkpoints/(?:{CHECKPOINT.pattern}|best)/(?P<name>[^/]+)")
_IN_A_CHECKPOINT: Final = re.compile(r"manifest\.json|(?:model|ema)\.safetensors|optimizer\.pt|rng-rank\d{1,5}\.pt")
#: What torch writes for tensors. A pickle calls what it names.
_NAMED: Final = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_\w+|torch \w*Storage|torch \w*(?:float|int)\d+"
)
_NAMING: Final = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"})
_LARGEST_HEADER: Final = 100_000_000  # bytes, as in safetensors itself
_PICKLE: Final = "data.pkl"


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
    if both := names & {str(folder) for name in names for folder in PurePosixPath(name).parents}:
        raise RunError(f"{one_line(repr(min(both)), 80)} is a file and a folder")
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
    if (attempt := _ATTEMPT.fullmatch(name)) and int(attempt[1]) > MOST_ATTEMPTS:
        return f"is one attempt too many: no run has more than {MOST_ATTEMPTS}"
    return ""


def weights_problem(name: str, path: Path) -> str:
    """What is wrong with the file `path`, called `name` in its run; empty if nothing is, or if it holds no weights."""
    if name.startswith("checkpoints/"):
        found = _CHECKPOINT.fullmatch(name)
        if found is None or not _IN_A_CHECKPOINT.fullmatch(found["name"]):
            return "is no file of a checkpoint"
    try:
        if name.endswith(".safetensors"):
            return _problem_of_safetensors(path)
        if name.endswith(".pt"):
            return _problem_of_torch(path)
    except (OSError, *UNUSABLE) as error:
        return f"is damaged: {error}"
    return ""


def _problem_of_safetensors(path: Path) -> str:
    with open_untrusted(path) as file:
        begin = file.read(9)
        size = path.stat().st_size
    length = int.from_bytes(begin[:8], "little")
    whole = len(begin) == 9 and begin[8:] == b"{" and 2 <= length <= min(_LARGEST_HEADER, size - 8)
    return "" if whole else "holds no weights, whatever its name says"


def _problem_of_torch(path: Path) -> str:
    with opened(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            return "is compressed, as torch saves nothing"
        # Torch's reader takes the first of these names, whatever their case.
        pickles = [entry for entry in entries if entry.filename.rpartition("/")[2].lower() == _PICKLE]
        if len(pickles) != 1 or pickles[0].file_size > LARGEST_PART:
            return "holds no tensors, whatever its name says"
        content = archive.read(pickles[0])
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in _NAMING and not (operation.name == "GLOBAL" and _NAMED.fullmatch(str(argument))):
            return "is a pickle that would execute something"
    return ""
