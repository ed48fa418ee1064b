"""Replace a data set by random images: shapes and sizes are in the catalogue, so the data need not be here."""

import math
from typing import Any

from rbp_engine.data.catalog import catalogued
from rbp_engine.data.data_set import DataShape
from rbp_engine.preset.schema import Preset
from rbp_engine.train.build import is_long


def with_stand_in(preset: Preset, shape: DataShape | None) -> Preset:
    """The preset with a few batches of random images of this shape, augmented like its own data.

    Without a shape it keeps its own data.
    """
    if shape is None:
        return preset
    batch = preset.data.batch_size
    sizes: dict[str, Any] = {"shape": list(shape.image), "classes": shape.classes}
    evaluated = max(2 * batch, preset.probes.gradients_images if preset.probes.gradients else 0)
    sizes |= {"train_size": 4 * batch, "test_size": evaluated} | ({"frames": True} if shape.frames else {})
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
    if not catalogued(preset.data.name).in_memory:
        return 0
    samples = shape.train_size + shape.test_size - 6 * preset.data.batch_size
    return max(0, samples) * math.prod(shape.image) * (preset.method.timesteps if shape.frames else 1)
