"""The shape of a preset's data and whether they are here, without opening them."""

from dataclasses import dataclass
from typing import Any

from rbp_engine.data.catalog import CATALOG, presence
from rbp_engine.data.sets.fake import arguments_of
from rbp_engine.preset.own_code import own_file
from rbp_engine.preset.sections.data import DataSection
from rbp_engine.vocabulary import EVENT_SETS, FOLDER_SET


@dataclass(frozen=True)
class DataShape:
    """`image` is (C, H, W) of one timestep; with `frames`, every timestep has its own. Sizes count samples."""

    image: tuple[int, int, int]
    frames: bool
    classes: int
    train_size: int
    test_size: int


def known_shape(data: DataSection) -> DataShape | None:
    """The shape of a preset's data, without opening it; None for a user's own data set, by code or in folders."""
    if own_file(data.name) is not None or FOLDER_SET.fullmatch(data.name):
        return None
    entry = CATALOG[data.name]
    height, width = entry.image_size
    if data.name in ("imagenet", "cifar10_dvs"):
        height = width = data.size or {"imagenet": 224, "cifar10_dvs": 48}[data.name]
    known: dict[str, Any] = {
        "shape": (entry.channels, height, width),
        "frames": data.name in EVENT_SETS,
        "classes": entry.classes,
        "train_size": entry.train_size,
        "test_size": entry.test_size,
    }
    if data.name == "fake":
        known |= arguments_of(data.args, data.size) | {"frames": bool(data.args.get("frames"))}
    channels, height, width = known["shape"]
    return DataShape(
        (channels, height, width), *(known[key] for key in ("frames", "classes", "train_size", "test_size"))
    )


def is_here(data: DataSection) -> bool:
    """Whether the data can be opened quickly. CIFAR10-DVS may first need a conversion, which takes minutes."""
    return own_file(data.name) is not None or (data.name != "cifar10_dvs" and presence(data.name).found)
