"""What a conversion decodes: the recordings of both parts, and how they are read. Without torch and numpy."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rbp_engine.errors import DataError
from rbp_engine.vocabulary import FramesBy, Orientation, Resize, SplitName

PARTS: Final = ("train", "test")


@dataclass(frozen=True)
class Recording:
    """One recording. The label is a class index."""

    label: int
    number: int
    path: Path


@dataclass(frozen=True)
class FrameSettings:
    """The frames that are wanted of each recording: T of them, `size` pixels a side."""

    timesteps: int
    frames_by: FramesBy = "number"
    split: SplitName = "last100"
    resize: Resize = "exact"
    size: int = 48
    orientation: Orientation = "canonical"


@dataclass(frozen=True)
class Plan:
    """The recordings of both parts, in order, and how they are decoded.

    `files` are those that they lie in. `settings` are for the manifest: all that decides the frames, beyond T, the
    slices and the size; `gaps` are remarks on missing recordings. `read` gives the event counts [T, 2, H, W] of a
    recording, and raises DataError and OSError.
    """

    train: Sequence[Recording]
    test: Sequence[Recording]
    files: Sequence[Path]
    settings: dict[str, Any]
    gaps: Sequence[str]
    read: Callable[[Recording], Any]


def index_hash(parts: Sequence[Sequence[Recording]], class_names: Sequence[str]) -> str:
    """The hash of the list of recordings in each part, wherever their files are."""
    index = [[f"{class_names[one.label]}_{one.number}" for one in part] for part in parts]
    return hashlib.sha256(json.dumps(index).encode()).hexdigest()


def fingerprint(files: Sequence[Path]) -> str:
    """A hash of the sizes and times of the files, in order, which those that replace them do not have."""
    return hashlib.sha256(json.dumps([_size_and_time(file) for file in files]).encode()).hexdigest()


def numbered(label: int, folder: Path, pattern: re.Pattern[str]) -> list[Recording]:
    """The recordings of a class: the files whose name is the pattern, with the number that is its first group.

    In the order of the numbers, not of the names: 0, 1, 10, 100, …. Raises OSError, and DataError for a folder
    that is missing or holds none.
    """
    try:
        names = os.listdir(folder)  # noqa: PTH208  # ten thousand names need no Path each
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder}: the folder of a class is missing: unpack, copy or convert it again") from None
    found = [(int(match[1]), folder / match[0]) for match in map(pattern.fullmatch, names) if match]
    if not found:
        raise DataError(f"{folder} has no recording: unpack, copy or convert it again")
    return [Recording(label, number, path) for number, path in sorted(found)]


def _size_and_time(path: Path) -> list[int | None]:
    try:
        found = path.stat()
    except OSError:  # the conversion says why, with the other files that cannot be read
        return [None, None]
    return [found.st_size, found.st_mtime_ns]
