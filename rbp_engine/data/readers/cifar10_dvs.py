"""What people have of CIFAR10-DVS, found in a folder by file names, never by contents. Without torch."""

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rbp_engine.data.events.plan import PARTS, Recording, numbered
from rbp_engine.data.sets.cifar import CIFAR10_CLASSES as CLASSES
from rbp_engine.errors import DataError
from rbp_engine.vocabulary import SplitName

PAGE: Final = "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671"
#: By layout, the suffix of its recordings, and where in the root the folders of the classes may be.
_LAYOUTS: Final = {"events": (".npz", ("events_np", ".")), "aedat": (".aedat", (".", "extract"))}


def find_layout(root: Path) -> tuple[str, Path]:
    """The layout to read from `root`, and the folder with its classes.

    Raises DataError, which says what was found instead, and the remedy.
    """
    found = _there(root)
    for layout, folder in found:
        if not _marker(folder).exists():
            return layout, folder
    if found:
        [(_, folder), *_] = found
        raise DataError(
            f"{folder} is unfinished, {_marker(folder).name} lies beside it: "
            "delete both and let SpikingJelly build it again"
        )
    if not root.is_dir():
        raise DataError(f"{root} is no folder: name the one that holds CIFAR10-DVS ({PAGE} has the recordings)")
    raise DataError(
        _obstacle(root)
        or f"{root} holds no CIFAR10-DVS: looked for CLASS/cifar10_CLASS_NUMBER.aedat and events_np; "
        f"{PAGE} has the recordings"
    )


def holds_any(root: Path) -> bool:
    """Whether something of CIFAR10-DVS lies in the folder itself, whether or not it can be read."""
    return root.is_dir() and bool(_there(root) or _obstacle(root))


def _there(root: Path) -> list[tuple[str, Path]]:
    return [
        (layout, root / place)
        for layout, (suffix, places) in _LAYOUTS.items()
        for place in places
        if _has(root / place, suffix)
    ]


def _obstacle(root: Path) -> str:
    """What is there of CIFAR10-DVS that cannot be read, and what to do; "" if nothing of it is there."""
    zips = [
        folder for folder in (root, root / "download") if any((folder / f"{name}.zip").exists() for name in CLASSES)
    ]
    if zips:
        return f"{zips[0]} holds CIFAR10-DVS still zipped: unpack it with  cd '{zips[0]}' && unzip -q '*.zip'"
    if any(_has(folder, ".aedat4") for folder in (root, root / "extract")) or list(root.glob("CIFAR10DVS*.zip")):
        return (
            f"{root} holds AEDAT 4 (tonic's), which is not read: either take the AEDAT 2.0 files of {PAGE}, or load "
            "each recording with tonic.datasets.CIFAR10DVS and write it with numpy.savez(t=, x=, y=, p=) to "
            "events_np/CLASS/cifar10_CLASS_NUMBER.npz, x to the right and y downwards"
        )
    if list(root.glob("frames_num*")) or _begins_with(root / "train", ".pt"):
        return (
            f"{root} holds frames as the published code or SpikingJelly stores them, which are not read: take "
            f"the AEDAT 2.0 files of {PAGE}, or events_np of SpikingJelly"
        )
    return ""


def _marker(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.building")


def _has(folder: Path, suffix: str) -> bool:
    """Whether a class folder in `folder` has files with this suffix among its first entries."""
    return any(_begins_with(folder / name, suffix) for name in CLASSES)


def _begins_with(folder: Path, suffix: str) -> bool:
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        # A few names are enough; a folder may have ten thousand.
        return any(entry.name.endswith(suffix) for entry in itertools.islice(entries, 20))


def list_recordings(layout: str, folder: Path) -> tuple[list[Recording], list[str]]:
    """All recordings, by class and number, and remarks on missing ones. Raises DataError if a class is missing."""
    recordings: list[Recording] = []
    gaps: list[str] = []
    for label, name in enumerate(CLASSES):
        pattern = re.compile(rf"(?:cifar10_)?{name}_(\d{{1,9}})\{_LAYOUTS[layout][0]}")
        of_class = numbered(label, folder / name, pattern)
        if missing := sorted(set(range(1000)) - {one.number for one in of_class}):
            first = f"the first is number {missing[0]}"
            gaps.append(f"{folder / name}: {len(missing)} of 1000 recordings are missing, {first}")
        recordings += of_class
    return recordings, gaps


def split_recordings(recordings: Sequence[Recording], split: SplitName) -> tuple[list[Recording], list[Recording]]:
    """Training and test recordings.

    By recording number in each class, "last100" tests on 900 and above, "first100" on 0 to 99; "random" tests on a
    tenth of each class, always the same. Raises DataError if a part would be empty.
    """
    test = _test_part(recordings, split)
    parts = [one for one in recordings if one not in test], [one for one in recordings if one in test]
    for part, chosen in zip(PARTS, parts, strict=True):
        if not chosen:
            raise DataError(
                f"{recordings[0].path.parent.parent} has no recording for the {part} part of the split {split}: "
                "copy the missing recordings, or choose another split"
            )
    return parts


def _test_part(recordings: Sequence[Recording], split: SplitName) -> set[Recording]:
    import numpy as np  # commands that list the sets import this file

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
