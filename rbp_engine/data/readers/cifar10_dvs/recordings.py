"""The recordings of a layout of CIFAR10-DVS, how they are split into training and test, and a look at each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from rbp_engine.data.events.aedat import check_aedat
from rbp_engine.data.events.archives import check_archive
from rbp_engine.data.events.errors import EventDataError
from rbp_engine.data.events.plan import PARTS, Recording, numbered
from rbp_engine.data.files import problems_of
from rbp_engine.data.readers.cifar10_dvs.layouts import FoundLayout, all_layouts
from rbp_engine.data.sets.cifar import CIFAR10_CLASSES as CLASSES
from rbp_engine.errors import DataError
from rbp_engine.vocabulary import SplitName

_SUFFIX: Final = {"aedat": "aedat", "events": "npz", "frames": "npz"}


@dataclass(frozen=True)
class Listing:
    """All recordings, by class and number, and remarks on missing ones."""

    recordings: tuple[Recording, ...]
    gaps: tuple[str, ...]


def list_recordings(found: FoundLayout) -> Listing:
    """The recordings of a layout. Raises EventDataError if a class is missing."""
    recordings: list[Recording] = []
    gaps: list[str] = []
    for label, name in enumerate(CLASSES):
        folder = found.folder / name
        if not folder.is_dir():
            packed = any((place / f"{name}.zip").exists() for place in (found.folder, found.folder.parent / "download"))
            remedy = f"{name}.zip is still zipped, unpack it" if packed else "unpack, copy or convert it again"
            raise EventDataError(f"{folder}: the class {name} is missing: {remedy}")
        pattern = re.compile(rf"(?:cifar10_)?{name}_(\d{{1,9}})\.{_SUFFIX[found.files]}")
        of_class = numbered(label, folder, pattern)
        if not of_class:
            raise EventDataError(f"{folder} has no cifar10_{name}_0.{_SUFFIX[found.files]} or other: copy it again")
        gaps += _gaps(folder, [one.number for one in of_class])
        recordings += of_class
    return Listing(tuple(recordings), tuple(gaps))


def split_recordings(recordings: Sequence[Recording], split: SplitName) -> tuple[list[Recording], list[Recording]]:
    """Training and test recordings.

    By recording number in each class, "last100" tests on 900 and above, "first100" on 0 to 99; "random" tests on a
    tenth of each class, always the same. Raises EventDataError if a part would be empty.
    """
    test = _test_part(recordings, split)
    parts = [one for one in recordings if one not in test], [one for one in recordings if one in test]
    for part, chosen in zip(PARTS, parts, strict=True):
        if not chosen:
            raise EventDataError(
                f"{recordings[0].path.parent.parent} has no recording for the {part} part of the split {split}: "
                "copy the missing recordings, or choose another split"
            )
    return parts


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


def _gaps(folder: Path, numbers: Sequence[int]) -> list[str]:
    missing = sorted(set(range(1000)) - set(numbers))
    if not missing:
        return []
    return [f"{folder}: {len(missing)} of 1000 recordings are missing, the first is number {missing[0]}"]


def check_recordings(root: Path) -> list[str]:
    """Problems of each layout in `root`: missing classes and recordings, and files that do not begin as recordings."""
    problems: list[str] = []
    for found in all_layouts(root):
        try:
            listing = list_recordings(found)
            split_recordings(listing.recordings, "last100")
        except DataError as error:
            problems.append(str(error))
            continue
        check = check_aedat if found.files == "aedat" else check_archive
        problems += [*listing.gaps, *problems_of(partial(check, one.path) for one in listing.recordings)]
    return problems
