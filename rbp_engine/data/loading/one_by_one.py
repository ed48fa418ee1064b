"""Images that worker processes read and augment one by one: ImageNet, or any other set of files in class folders."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rbp_engine.data.feed import Feed
from rbp_engine.data.loading.batch_loader import Batch, BatchLoader, Read
from rbp_engine.data.loading.source import Finish, Index, Source, Wanted, permutation
from rbp_engine.data.opening import Opening
from rbp_engine.data.preprocess import NormalisePixels, Pixels
from rbp_engine.data.readers.image_files import FileImages
from rbp_engine.data.readers.image_folders import ImageFolders

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class ImageReader(Protocol):
    """Reads one image at a time. Raises ValueError for a bad image, with a message for the user."""

    labels: Index

    def augmented(self, index: int, draw: np.random.Generator) -> Tensor:
        """The image for training, with all random numbers from `draw`; all images have the same shape."""
        ...

    def plain(self, index: int) -> Tensor:
        """The image for evaluation; all images have the same shape."""
        ...


@dataclass(frozen=True)
class OneByOne(Source):
    """The images of a reader, on the device of the loader.

    `normalise` turns the images of a batch, on the device, into the network's input. `flip` mirrors with probability
    one half.
    """

    reader: ImageReader
    normalise: Callable[[Tensor], Tensor]
    loader: BatchLoader
    flip: bool = False

    @property
    def labels(self) -> Index:
        return self.reader.labels

    def augmented(self, index: Index, seed: int) -> tuple[Read, Finish, Callable[[int], Any]]:
        def finish(_: Wanted, pixels: Tensor, labels: Tensor, mirrored: Tensor) -> Batch:
            if self.flip:
                pixels = torch.where(mirrored.view(-1, 1, 1, 1), pixels.flip(-1), pixels)
            return self.normalise(pixels), labels

        return self.loader.reading(partial(_augmented, self.reader, seed)), finish, permutation(index, seed)

    def plain(self) -> tuple[Read, Finish]:
        def finish(_: Wanted, pixels: Tensor, labels: Tensor) -> Batch:
            return self.normalise(pixels), labels

        return self.loader.reading(partial(_plain, self.reader)), finish


def _augmented(reader: ImageReader, seed: int, wanted: Wanted) -> tuple[Tensor, Tensor, Tensor]:
    """Images [B, C, H, W] and labels [B], and which are to be mirrored [B]."""
    images, mirrored = [], []
    for place, number in enumerate(wanted.indices.tolist(), wanted.first):
        draw = np.random.default_rng((seed, wanted.epoch, 1 + place))
        mirrored.append(draw.random() < 0.5)
        images.append(reader.augmented(number, draw))
    return torch.stack(images), torch.from_numpy(reader.labels[wanted.indices]), torch.tensor(mirrored)


def _plain(reader: ImageReader, wanted: Wanted) -> tuple[Tensor, Tensor]:
    """Images [B, C, H, W] and labels [B]."""
    images = [reader.plain(number) for number in wanted.indices.tolist()]
    return torch.stack(images), torch.from_numpy(reader.labels[wanted.indices])


def images_in_files(folders: ImageFolders, size: int, opening: Opening) -> Feed:
    """The batches of a run; `folders.val` is the test set. A damaged file raises ValueError once it is read.

    Training: a random crop resized to `size` × `size` pixels; evaluation: the centre.
    """
    normalise = NormalisePixels(MEAN, DEVIATION, opening.device)
    loader = BatchLoader(opening.workers, opening.device)
    train, test = (
        OneByOne(FileImages(images, size), normalise, loader, opening.data.flip)
        for images in (folders.train, folders.val)
    )
    pixels = Pixels(MEAN, DEVIATION, crop=size)
    return Feed.of(train, test, opening, len(folders.classes), pixels, folders.classes, loader)
