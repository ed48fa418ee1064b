"""The batches of a run: the data set on the device, split and augmented as the preset says."""

from typing import TYPE_CHECKING

import torch

from rbp_engine.data.batches import EvaluationBatches, Normalise, TrainBatches
from rbp_engine.data.loading import load
from rbp_engine.data.protocol import Feed
from rbp_engine.data.splits import stratified_split

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Data


def open_feed(data: "Data", *, seed: int, held_out: float, device: torch.device) -> Feed:
    """Load the data set of a preset's `[data]`. Raises DataMissing, or ValueError for a batch that cannot be filled."""
    splits = load(data.name)
    normalise = Normalise(splits, device)
    train_images = splits.train
    test = EvaluationBatches(splits.test.to(device), normalise, batch_size=data.batch_size)
    validation = test
    if held_out:
        train_images, held = stratified_split(train_images, held_out)
        validation = EvaluationBatches(held.to(device), normalise, batch_size=data.batch_size, split="held-out")
    train = TrainBatches(
        train_images.to(device),
        normalise,
        batch_size=data.batch_size,
        seed=seed,
        crop_padding=data.crop_padding,
        flip=data.flip,
        cutout=data.cutout,
        drop_last=data.drop_last,
    )
    return Feed(train, validation, test, splits.classes, splits.channels, {"name": data.name})
