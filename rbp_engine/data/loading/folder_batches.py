"""Batches of images that worker processes read and augment one by one."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rbp_engine.data.loading.batch_loader import Batch, BatchLoader
from rbp_engine.data.loading.shares import Batches
from rbp_engine.data.loading.source import EvaluationBatches, TrainingBatches, Wanted, permutation


class ImageReader(Protocol):
    """Reads one image at a time. Raises ValueError for a bad image, with a message for the user."""

    labels: NDArray[np.int64]

    def augmented(self, index: int, draw: np.random.Generator) -> Tensor:
        """The image for training, with all random numbers from `draw`; all images have the same shape."""
        ...

    def plain(self, index: int) -> Tensor:
        """The image for evaluation; all images have the same shape."""
        ...


def image_training(
    reader: ImageReader,
    normalise: Callable[[Tensor], Tensor],
    loader: BatchLoader,
    *,
    batch_size: int,
    seed: int,
    flip: bool,
    drop_last: bool,
    rank: int = 0,
    world_size: int = 1,
) -> TrainingBatches:
    """Shuffled, augmented batches of (images [B, C, H, W], labels [B]) on the device of the loader.

    `normalise` turns the images of a batch, on the device, into the network's input. `flip` mirrors with probability
    one half. `batch_size` counts images over all processes: process `rank` of `world_size` gets its contiguous share of
    each batch.
    """

    def finish(_: Wanted, pixels: Tensor, labels: Tensor, mirrored: Tensor) -> Batch:
        if flip:
            pixels = torch.where(mirrored.view(-1, 1, 1, 1), pixels.flip(-1), pixels)
        return normalise(pixels), labels

    batches = Batches(len(reader.labels), batch_size, drop_last, rank, world_size)
    read = loader.reading(_Augmented(reader, seed))
    return TrainingBatches(read, finish, permutation(seed, batches.count), batches)


def image_evaluation(
    reader: ImageReader, normalise: Callable[[Tensor], Tensor], loader: BatchLoader, **shares: Any
) -> EvaluationBatches:
    """All images in order; the shares are those of `EvaluationBatches`."""

    def finish(_: Wanted, pixels: Tensor, labels: Tensor) -> Batch:
        return normalise(pixels), labels

    return EvaluationBatches(loader.reading(_Plain(reader)), finish, len(reader.labels), **shares)


class _Augmented(Dataset[Any]):
    def __init__(self, reader: ImageReader, seed: int) -> None:
        self.reader, self.seed = reader, seed

    def __getitem__(self, wanted: Wanted) -> tuple[Tensor, Tensor, Tensor] | str:
        images, mirrored = [], []
        try:
            for place, index in enumerate(wanted.indices.tolist(), wanted.first):
                draw = np.random.default_rng((self.seed, wanted.epoch, 1 + place))
                mirrored.append(draw.random() < 0.5)
                images.append(self.reader.augmented(index, draw))
        except ValueError as error:
            return str(error)
        return torch.stack(images), torch.from_numpy(self.reader.labels[wanted.indices]), torch.tensor(mirrored)


class _Plain(Dataset[Any]):
    def __init__(self, reader: ImageReader) -> None:
        self.reader = reader

    def __getitem__(self, wanted: Wanted) -> tuple[Tensor, Tensor] | str:
        try:
            images = [self.reader.plain(index) for index in wanted.indices.tolist()]
        except ValueError as error:
            return str(error)
        return torch.stack(images), torch.from_numpy(self.reader.labels[wanted.indices])
