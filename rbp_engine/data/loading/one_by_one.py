"""Images that worker processes read and augment one by one: ImageNet, or any other set of files in class folders."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rbp_engine.data.feed import Feed
from rbp_engine.data.loading.batch_loader import Batch, BatchLoader
from rbp_engine.data.loading.shares import Batches, Cut
from rbp_engine.data.loading.source import EvaluationBatches, TrainingBatches, Wanted, permutation
from rbp_engine.data.opening import Opening
from rbp_engine.data.preprocess import NormalisePixels, Pixels
from rbp_engine.data.readers.image_files import FileImages
from rbp_engine.data.readers.image_folders import ImageFolders

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class ImageReader(Protocol):
    """Reads one image at a time. Raises ValueError for a bad image, with a message for the user."""

    labels: NDArray[np.int64]

    def augmented(self, index: int, draw: np.random.Generator) -> Tensor:
        """The image for training, with all random numbers from `draw`; all images have the same shape."""
        ...

    def plain(self, index: int) -> Tensor:
        """The image for evaluation; all images have the same shape."""
        ...


@dataclass(frozen=True)
class OneByOne:
    """The images of a reader at `index`, in their order, on the device of the loader.

    `normalise` turns the images of a batch, on the device, into the network's input. `flip` mirrors with probability
    one half.
    """

    reader: ImageReader
    index: NDArray[np.int64]
    normalise: Callable[[Tensor], Tensor]
    loader: BatchLoader
    flip: bool = False

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.reader.labels[self.index]

    def subset(self, index: NDArray[np.int64]) -> "OneByOne":
        return replace(self, index=self.index[index])

    def training(self, cut: Cut) -> TrainingBatches:
        """Shuffled, augmented batches of (images [B, C, H, W], labels [B])."""

        def finish(_: Wanted, pixels: Tensor, labels: Tensor, mirrored: Tensor) -> Batch:
            if self.flip:
                pixels = torch.where(mirrored.view(-1, 1, 1, 1), pixels.flip(-1), pixels)
            return self.normalise(pixels), labels

        batches = Batches(len(self.index), cut)
        read = self.loader.reading(partial(_augmented, self.reader, self.index, cut.seed))
        return TrainingBatches(read, finish, permutation(cut.seed, batches.count), batches)

    def evaluation(self, cut: Cut, split: str = "test") -> EvaluationBatches:
        """All images in order."""

        def finish(_: Wanted, pixels: Tensor, labels: Tensor) -> Batch:
            return self.normalise(pixels), labels

        read = self.loader.reading(partial(_plain, self.reader, self.index))
        return EvaluationBatches(read, finish, len(self.index), cut, split)


def _augmented(
    reader: ImageReader, index: NDArray[np.int64], seed: int, wanted: Wanted
) -> tuple[Tensor, Tensor, Tensor]:
    """Images [B, C, H, W] and labels [B], and which are to be mirrored [B]."""
    numbers, images, mirrored = index[wanted.indices], [], []
    for place, number in enumerate(numbers.tolist(), wanted.first):
        draw = np.random.default_rng((seed, wanted.epoch, 1 + place))
        mirrored.append(draw.random() < 0.5)
        images.append(reader.augmented(number, draw))
    return torch.stack(images), torch.from_numpy(reader.labels[numbers]), torch.tensor(mirrored)


def _plain(reader: ImageReader, index: NDArray[np.int64], wanted: Wanted) -> tuple[Tensor, Tensor]:
    """Images [B, C, H, W] and labels [B]."""
    numbers = index[wanted.indices]
    images = [reader.plain(number) for number in numbers.tolist()]
    return torch.stack(images), torch.from_numpy(reader.labels[numbers])


def images_in_files(folders: ImageFolders, size: int, opening: Opening) -> Feed:
    """The batches of a run; `folders.val` is the test set. A damaged file raises ValueError once it is read.

    Training: a random crop resized to `size` × `size` pixels; evaluation: the centre.
    """
    normalise = NormalisePixels(MEAN, DEVIATION, opening.device)
    loader = BatchLoader(opening.workers, opening.device)
    train, test = (
        OneByOne(FileImages(images, size), np.arange(len(images)), normalise, loader, opening.data.flip)
        for images in (folders.train, folders.val)
    )
    pixels = Pixels(MEAN, DEVIATION, crop=size)
    return Feed.of(train, test, opening, len(folders.classes), pixels, folders.classes, loader)
