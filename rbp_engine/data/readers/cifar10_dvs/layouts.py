"""What people have of CIFAR10-DVS, found in a folder by file names, never by contents."""

import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rbp_engine.data.events.errors import EventDataError
from rbp_engine.data.sets.cifar import CIFAR10_CLASSES as CLASSES
from rbp_engine.vocabulary import FramesBy

PAGE: Final = "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671"

_FRAMES: Final = re.compile(r"frames_number_\d+_split_by_(?:number|time)")


@dataclass(frozen=True)
class FoundLayout:
    """What its files contain, and the `folder` with the classes: recordings, or as SpikingJelly leaves them."""

    files: Literal["aedat", "events", "frames"]
    folder: Path


def detect(root: Path, *, timesteps: int, frames_by: FramesBy) -> FoundLayout:
    """The layout to read from `root`; of several the first whose frames or events give these timesteps.

    Raises EventDataError, which says what was found instead, and the remedy.
    """
    root, wanted = _holder(root), f"frames_number_{timesteps}_split_by_{frames_by}"
    if not root.is_dir():
        raise EventDataError(_no_folder(root))
    there = [one for one in _there(root) if one.files != "frames" or one.folder.name == wanted]
    whole = [one for one in there if not _marker(one.folder).exists()]
    if not whole and there:
        raise EventDataError(
            f"{there[0].folder} is unfinished, {_marker(there[0].folder).name} lies beside it: "
            "delete both and let SpikingJelly build it again"
        )
    if not whole:
        raise EventDataError(_explain(root, wanted))
    return whole[0]


def all_layouts(root: Path) -> list[FoundLayout]:
    """Each layout in the folder `root`, whatever its T, that is not still being made."""
    return [one for one in _there(_holder(root)) if not _marker(one.folder).exists()]


def why_none(root: Path) -> str:
    """Why nothing in `root` can be read, whatever its T, and what to do; "" if something can."""
    root = _holder(root)
    if not root.is_dir():
        return _no_folder(root)
    return "" if all_layouts(root) else _explain(root, "frames_number_T_split_by_number")


def holds_any(root: Path) -> bool:
    """Whether something of CIFAR10-DVS lies in the folder itself, whether or not it can be read."""
    root = _holder(root)
    return root.is_dir() and bool(_there(root) or _obstacle(root))


def _holder(root: Path) -> Path:
    """The folder of the data set; its parent, if `root` is a folder of frames or events."""
    return root.parent if _FRAMES.fullmatch(root.name) or root.name == "events_np" else root


def _no_folder(root: Path) -> str:
    return f"{root} is no folder: name the one that holds CIFAR10-DVS ({PAGE} has the recordings)"


def _there(root: Path) -> list[FoundLayout]:
    names = sorted(name for name in os.listdir(root) if _FRAMES.fullmatch(name))  # noqa: PTH208  # only names
    found = [FoundLayout("frames", root / name) for name in names]
    found += [FoundLayout("events", root / "events_np")] if (root / "events_np").is_dir() else []
    return found + [FoundLayout("aedat", folder) for folder in (root, root / "extract") if _has(folder, ".aedat")]


def _explain(root: Path, wanted: str) -> str:
    """A message why nothing in `root` can be read, and what to do."""
    if other := [one.folder.name for one in _there(root) if one.files == "frames"]:
        return (
            f"{root} has no {wanted}, but frames for other settings ({', '.join(other)}): ask for those, or put "
            "events_np or the .aedat files beside them"
        )
    return _obstacle(root) or (
        f"{root} holds no CIFAR10-DVS: looked for CLASS/cifar10_CLASS_NUMBER.aedat, events_np and {wanted}; "
        f"{PAGE} has the recordings"
    )


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
    if list(root.glob("frames_num_*")) or _begins_with(root / "train", ".pt"):
        return (
            f"{root} holds frames as the published code or an old SpikingJelly stores them, which are not read: take "
            f"the AEDAT 2.0 files of {PAGE}"
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
