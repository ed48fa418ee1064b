"""Detect the layout of CIFAR10-DVS in a folder by file names, never by contents."""

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
# The layout with `train/{i}.pt` stores this many timesteps.
TENSOR_STEPS: Final = 10

_FRAMES: Final = re.compile(r"frames_num(?:ber)?_(\d+)_split_by_(number|time)(?:_normalization_None)?")


@dataclass(frozen=True)
class FoundLayout:
    """A layout (1, 3, 4 or 5), what its files contain, and the `folder` with the classes, or with train and test."""

    layout: int
    files: Literal["aedat", "events", "frames", "tensors"]
    folder: Path


def detect(root: Path, *, timesteps: int, frames_by: FramesBy, layout: int = 0) -> FoundLayout:
    """The layout to read from `root`; of several the first whose frames or events give these timesteps.

    `layout` selects one, 0 takes any. Raises EventDataError, which says what was found instead, and the remedy.
    """
    root = _holder(root)
    if not root.is_dir():
        raise EventDataError(_no_folder(root))
    there = [found for found in _candidates(root, timesteps, frames_by) if layout in (0, found.layout)]
    whole = [found for found in there if not _marker(found.folder).exists()]
    if not whole and there:
        raise EventDataError(
            f"{there[0].folder} is unfinished, {_marker(there[0].folder).name} lies beside it: "
            "delete both and let SpikingJelly build it again"
        )
    if not whole:
        raise EventDataError(_explain(root, timesteps, frames_by, layout))
    if whole[0].files == "tensors":
        _refuse_other_steps(whole[0].folder, timesteps, frames_by)
    return whole[0]


def look(root: Path) -> tuple[list[int], str]:
    """The layouts in `root`, whatever their T, and ""; or none, and a message that says what to do."""
    if not _holder(root).is_dir():
        return [], _no_folder(_holder(root))
    layouts = sorted({one.layout for one in all_layouts(root)})
    return layouts, "" if layouts else _explain(_holder(root), TENSOR_STEPS, "number", 0)


def holds_any(root: Path) -> bool:
    """Whether something of CIFAR10-DVS lies in the folder itself, whether or not it can be read."""
    root = _holder(root)
    return root.is_dir() and bool(_candidates(root, TENSOR_STEPS, "number") or _obstacle(root, TENSOR_STEPS, "number"))


def all_layouts(root: Path) -> list[FoundLayout]:
    """Each layout in the folder `root`, whatever its T, that is not still being made."""
    root = _holder(root)
    there = [(int(match[1]), match[2]) for name in os.listdir(root) if (match := _FRAMES.fullmatch(name))]  # noqa: PTH208  # only names
    settings = [(TENSOR_STEPS, "number"), *there]
    found = [one for steps, by in settings for one in _candidates(root, steps, "time" if by == "time" else "number")]
    return [one for one in dict.fromkeys(found) if not _marker(one.folder).exists()]


def _holder(root: Path) -> Path:
    """The folder of the data set; its parent, if `root` is a folder of frames or events."""
    return root.parent if _FRAMES.fullmatch(root.name) or root.name == "events_np" else root


def _no_folder(root: Path) -> str:
    return f"{root} is no folder: name the one that holds CIFAR10-DVS ({PAGE} has the recordings)"


def _candidates(root: Path, timesteps: int, frames_by: FramesBy) -> list[FoundLayout]:
    frames = f"{timesteps}_split_by_{frames_by}"
    found = [
        FoundLayout(3, "frames", root / f"frames_number_{frames}"),
        FoundLayout(3, "events", root / "events_np"),
        FoundLayout(5, "frames", root / f"frames_num_{frames}_normalization_None"),
    ]
    found = [one for one in found if one.folder.is_dir()]
    found += [FoundLayout(1, "aedat", folder) for folder in (root, root / "extract") if _has(folder, ".aedat")]
    if _begins_with(root / "train", ".pt") and (root / "test").is_dir():
        found.append(FoundLayout(4, "tensors", root))
    return found


def _explain(root: Path, timesteps: int, frames_by: FramesBy, layout: int) -> str:
    """A message why nothing in `root` can be read, and what to do."""
    asked = f" in layout {layout}" if layout else ""
    return _obstacle(root, timesteps, frames_by) or (
        f"{root} holds no CIFAR10-DVS{asked}: looked for CLASS/cifar10_CLASS_NUMBER.aedat, events_np, "
        f"frames_number_{timesteps}_split_by_{frames_by}, train/0.pt with test/0.pt and "
        f"frames_num_{timesteps}_split_by_{frames_by}_normalization_None; {PAGE} has the recordings"
    )


def _obstacle(root: Path, timesteps: int, frames_by: FramesBy) -> str:
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
    other = sorted(name for name in os.listdir(root) if _FRAMES.fullmatch(name))  # noqa: PTH208  # only names
    if other:
        return (
            f"{root} has frames for other settings than T = {timesteps} by {frames_by} ({', '.join(other)}): "
            "ask for those, or put events_np or the .aedat files beside them"
        )
    return ""


def _refuse_other_steps(folder: Path, timesteps: int, frames_by: FramesBy) -> None:
    if timesteps != TENSOR_STEPS:
        raise EventDataError(
            f"{folder / 'train'} stores frames of T = {TENSOR_STEPS}, so T = {timesteps} cannot be made from it: "
            f"set T to {TENSOR_STEPS}, or use a layout with events (.aedat or events_np)"
        )
    if frames_by != "number":
        raise EventDataError(
            f"{folder / 'train'} stores frames of equal event number: set frames_by to number, or use a layout with "
            "events (.aedat or events_np)"
        )


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
