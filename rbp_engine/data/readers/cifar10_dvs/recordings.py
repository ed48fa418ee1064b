"""The recordings of a layout of CIFAR10-DVS, and how they are split into training and test."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from rbp_engine.data.events.errors import EventDataError
from rbp_engine.data.events.plan import PARTS, Recording, index_hash, numbered
from rbp_engine.data.readers.cifar10_dvs.layouts import FoundLayout
from rbp_engine.data.sets.cifar import CIFAR10_CLASSES as CLASSES
from rbp_engine.vocabulary import SplitName

_SUFFIX: Final = {"aedat": "aedat", "events": "npz", "frames": "npz"}


@dataclass(frozen=True)
class Split:
    """The recordings of each part, in order; `sha256` is the hash of their list, equal for all layouts by class."""

    name: str
    train: tuple[Recording, ...]
    test: tuple[Recording, ...]
    sha256: str


@dataclass(frozen=True)
class Listing:
    """All recordings, by class or part and number, and remarks on files that are none, and on missing recordings."""

    recordings: tuple[Recording, ...]
    strays: tuple[str, ...]
    gaps: tuple[str, ...]


def list_recordings(found: FoundLayout) -> Listing:
    """The recordings of a layout. Raises EventDataError if a class is missing."""
    recordings: list[Recording] = []
    strays: list[str] = []
    gaps: list[str] = []
    if found.files == "tensors":
        for part in PARTS:
            numbers, stray = numbered(found.folder / part, re.compile(r"(\d{1,9})\.pt"))
            strays += stray
            # The published script writes one recording of each class in turn.
            recordings += [Recording(part, number % 10, number, path) for number, path in numbers]
            gaps += _gaps(found.folder / part, [number for number, _ in numbers], numbers[-1][0] + 1 if numbers else 0)
            if missing := set(range(10)) - {number % 10 for number, _ in numbers}:
                raise EventDataError(
                    f"{found.folder / part} has no file of class {CLASSES[min(missing)]} ({min(missing)}.pt, "
                    f"1{min(missing)}.pt, …): copy or convert it again"
                )
        return Listing(tuple(recordings), tuple(strays), tuple(gaps))
    for label, name in enumerate(CLASSES):
        folder = found.folder / name
        if not folder.is_dir():
            packed = any((place / f"{name}.zip").exists() for place in (found.folder, found.folder.parent / "download"))
            remedy = f"{name}.zip is still zipped, unpack it" if packed else "unpack, copy or convert it again"
            raise EventDataError(f"{folder}: the class {name} is missing: {remedy}")
        pattern = re.compile(rf"(?:cifar10_)?{name}_(\d{{1,9}})\.{_SUFFIX[found.files]}")
        numbers, stray = numbered(folder, pattern)
        if not numbers:
            raise EventDataError(f"{folder} has no cifar10_{name}_0.{_SUFFIX[found.files]} or other: copy it again")
        strays += stray
        gaps += _gaps(folder, [number for number, _ in numbers], 1000)
        recordings += [Recording("", label, number, path) for number, path in numbers]
    return Listing(tuple(recordings), tuple(strays), tuple(gaps))


def split_recordings(recordings: Sequence[Recording], split: SplitName, *, layout: int) -> Split:
    """Training and test recordings.

    By recording number in each class, "last100" tests on 900 and above, "first100" on 0 to 99; "random" tests on a
    tenth of each class, always the same. The files of layout 4 are already split. Raises EventDataError if a part would
    be empty, or if layout 4 is requested with another split.
    """
    if layout == 4 and split != "last100":
        raise EventDataError(
            f"{recordings[0].path.parent.parent} comes split into train and test, so split = {split} cannot be made: "
            "leave split at its default, or use another layout"
        )
    test = {one for one in recordings if one.part == "test"} if layout == 4 else _test_part(recordings, split)
    parts = [one for one in recordings if one not in test], [one for one in recordings if one in test]
    for part, chosen in zip(PARTS, parts, strict=True):
        if not chosen:
            raise EventDataError(
                f"{recordings[0].path.parent.parent} has no recording for the {part} part of the split {split}: "
                "copy the missing recordings, or choose another split"
            )
    name = "as stored" if layout == 4 else split
    return Split(name, tuple(parts[0]), tuple(parts[1]), index_hash(parts, CLASSES))


def _test_part(recordings: Sequence[Recording], split: SplitName) -> set[Recording]:
    if split == "last100":
        return {one for one in recordings if one.number >= 900}
    if split == "first100":
        return {one for one in recordings if one.number < 100}
    chosen: set[Recording] = set()
    for label in range(len(CLASSES)):
        of_class = [one for one in recordings if one.label == label]
        order = np.random.default_rng([0, label]).permutation(len(of_class))
        chosen |= {of_class[place] for place in order[: max(1, len(of_class) // 10)]}
    return chosen


def _gaps(folder: Path, numbers: Sequence[int], expected: int) -> list[str]:
    there = set(numbers)
    # A single file may have any number: those before it are counted, not listed.
    missing = expected - sum(number < expected for number in there)
    if not missing:
        return []
    first = next(number for number in range(expected) if number not in there)
    return [f"{folder}: {missing} of {expected} recordings are missing, the first is number {first}"]
