"""CIFAR10-DVS: recordings of CIFAR-10's images before an event camera.

x and y are the two parts of the raw address in the AEDAT 2.0 file. It stores rows of y and columns of x; SpikingJelly
turns them. A network trained on frames of one orientation is wrong on those of another.
"""

import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rbp_engine.data.events.plan import PARTS, FrameSettings, Plan, Recording, numbered
from rbp_engine.data.events.recorded import RecordedSet, events_of_spikingjelly
from rbp_engine.data.sets.cifar import CIFAR10_CLASSES
from rbp_engine.errors import DataError
from rbp_engine.vocabulary import SplitName

_PAGE: Final = "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671"
_CANONICAL: Final = "row 127-x, column 127-y"
# By layout, the suffix of its recordings, and where in the root the folders of the classes may be.
_LAYOUTS: Final = {"events": (".npz", ("events_np", ".")), "aedat": (".aedat", (".", "extract"))}


@dataclass(frozen=True, kw_only=True)
class Cifar10Dvs(RecordedSet):
    """1000 recordings of each class."""

    def place(self, root: Path) -> tuple[str, Sequence[Path]]:
        for layout, (suffix, places) in _LAYOUTS.items():
            for folder in (root / place for place in places):
                unfinished = folder.with_name(f"{folder.name}.building").exists()
                if not unfinished and any(_begins_with(folder / name, suffix) for name in CIFAR10_CLASSES):
                    return layout, [folder]
        return super().place(root)  # raises DataError

    def plan(self, root: Path, wanted: FrameSettings) -> Plan:
        from rbp_engine.data.events.aedat import read_aedat

        layout, [folder] = self.place(root)
        recordings, gaps = list_recordings(layout, folder)
        turned, stored = layout == "aedat" and wanted.orientation == "canonical", layout == "events"
        side = self.image_size[0]

        def events(recording: Recording) -> Sequence[Any]:
            times, x, y, polarities = events_of_spikingjelly(recording) if stored else read_aedat(recording.path)
            return (times, side - 1 - y, side - 1 - x, polarities) if turned else (times, x, y, polarities)

        return self.planned(
            wanted,
            folder,
            layout,
            split_recordings(recordings, wanted.split),
            events,
            gaps=gaps,
            # Its events are counted in the order in which they were stored, whatever their times.
            in_order=False,
            split=wanted.split,
            orientation=(_CANONICAL if turned or stored else "row y, column x")
            + (", turned from row y, column x" if turned else ", as stored"),
        )


def _begins_with(folder: Path, suffix: str) -> bool:
    """Whether a folder has files with this suffix among its first entries."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        # A few names are enough; a folder may have ten thousand.
        return any(entry.name.endswith(suffix) for entry in itertools.islice(entries, 20))


def list_recordings(layout: str, folder: Path) -> tuple[list[Recording], list[str]]:
    """All recordings, by class and number, and remarks on missing ones. Raises DataError if a class is missing."""
    recordings: list[Recording] = []
    gaps: list[str] = []
    for label, name in enumerate(CIFAR10_CLASSES):
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
    for label in range(len(CIFAR10_CLASSES)):
        of_class = [one for one in recordings if one.label == label]
        order = np.random.default_rng([0, label]).permutation(len(of_class))
        chosen |= {of_class[place] for place in order[: max(1, len(of_class) // 10)]}
    return chosen


CIFAR10_DVS = Cifar10Dvs(
    name="cifar10_dvs",
    paper_name="CIFAR10-DVS",
    title="CIFAR10-DVS, events",
    classes=10,
    class_names=CIFAR10_CLASSES,
    channels=2,
    image_size=(128, 128),
    default_size=48,
    train_size=9_000,
    test_size=1_000,
    origin=f"{_PAGE}, by hand",
    layout="CLASS/cifar10_CLASS_NUMBER.aedat (AEDAT 2.0), also in extract/, or events_np/ of SpikingJelly, without "
    "events_np.building",
    takes=("roll", "cutout", "size", "frames_by", "split", "resize", "orientation"),
    by_hand=f"{_PAGE}; unpack the ten archives into one folder",
    folder="cifar10_dvs",
)
DATA_SETS = (CIFAR10_DVS,)
