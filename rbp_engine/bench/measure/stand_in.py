"""Replace a data set by random images: shapes and sizes are in the catalogue, so the data need not be here."""

import math
from dataclasses import dataclass
from typing import Any

from rbp_engine.data.catalog import CATALOG, presence
from rbp_engine.data.sets.fake import arguments_of
from rbp_engine.preset.own_code import own_file
from rbp_engine.preset.schema import Preset
from rbp_engine.preset.sections.data import DataSection
from rbp_engine.train.kernel import is_long
from rbp_engine.vocabulary import EVENT_SETS, FOLDER_SET

# Sets that are read batch by batch; all others are in memory as a whole.
READ_FROM_FILES = ("imagenet", "cifar10_dvs")


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


def with_stand_in(preset: Preset, shape: DataShape | None) -> Preset:
    """The preset with a few batches of random images of this shape, augmented like its own data.

    Without a shape it keeps its own data.
    """
    if shape is None:
        return preset
    batch = preset.data.batch_size
    sizes: dict[str, Any] = {"shape": list(shape.image), "classes": shape.classes}
    sizes |= {"train_size": 4 * batch, "test_size": 2 * batch} | ({"frames": True} if shape.frames else {})
    data = preset.data.model_copy(update={"name": "fake", "size": 0, "args": sizes})
    # With random labels on so few images, not every class could be held out.
    train = preset.train.model_copy(update={"validation_split": 0.0})
    if train.kernel == "auto" and is_long(preset, batches(preset, shape)[0]):
        train = train.model_copy(update={"kernel": "compiled"})  # as on the whole data set
    return preset.model_copy(update={"data": data, "train": train})


def batches(preset: Preset, shape: DataShape) -> tuple[int, int]:
    """The numbers of steps in an epoch and of batches in an evaluation, on the whole data set."""
    held_out = math.ceil(preset.train.validation_split * shape.train_size)
    trained, size = shape.train_size - held_out, preset.data.batch_size
    steps = trained // size if preset.data.drop_last else math.ceil(trained / size)
    return steps, math.ceil((held_out or shape.test_size) / size)


def bytes_in_memory(preset: Preset, shape: DataShape) -> int:
    """The memory that the whole data set takes beyond that of the random images."""
    if preset.data.name in READ_FROM_FILES:
        return 0
    samples = shape.train_size + shape.test_size - 6 * preset.data.batch_size
    return max(0, samples) * math.prod(shape.image) * (preset.method.timesteps if shape.frames else 1)
