"""Images that worker processes read and augment one by one: ImageNet, or any other set of files in class folders."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rbp_engine.data.feed import Feed, Opening
from rbp_engine.data.loading.batch_loader import Batch, BatchLoader, Read
from rbp_engine.data.loading.source import Finish, Index, Source, Wanted
from rbp_engine.data.preprocess import NormalisePixels, Pixels
from rbp_engine.data.readers.image_files import square
from rbp_engine.data.readers.image_folders import ImageFolders

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


#: Gives the image with a number: for training, with all random numbers from the generator; without one for an
#: evaluation. All have the same shape. Raises ValueError for a bad image, with a message for the user.
ReadImage = Callable[[int, np.random.Generator | None], Tensor]


@dataclass(frozen=True)
class OneByOne(Source):
    """Images that `read` gives, with their `classes` [N], on the device of the loader.

    `normalise` turns the images of a batch, on the device, into the network's input. `flip` mirrors with probability
    one half.
    """

    read: ReadImage
    classes: Index
    normalise: Callable[[Tensor], Tensor]
    loader: BatchLoader
    flip: bool = False

    @property
    def labels(self) -> Index:
        return self.classes

    def reading(self, seed: int | None) -> tuple[Read, Finish]:
        def finish(_: Wanted, pixels: Tensor, labels: Tensor, mirrored: Tensor) -> Batch:
            if self.flip and seed is not None:
                pixels = torch.where(mirrored.view(-1, 1, 1, 1), pixels.flip(-1), pixels)
            return self.normalise(pixels), labels

        return self.loader.reading(partial(_images, self.read, self.classes, seed)), finish


def _images(read: ReadImage, classes: Index, seed: int | None, wanted: Wanted) -> tuple[Tensor, Tensor, Tensor]:
    """Images [B, C, H, W] and labels [B], and which are to be mirrored [B]: none without a seed."""
    images, mirrored = [], []
    for place, number in enumerate(wanted.indices.tolist(), wanted.first):
        draw = None if seed is None else np.random.default_rng((seed, wanted.epoch, 1 + place))
        mirrored.append(draw is not None and draw.random() < 0.5)
        images.append(read(number, draw))
    return torch.stack(images), torch.from_numpy(classes[wanted.indices]), torch.tensor(mirrored)


def images_in_files(folders: ImageFolders, size: int, opening: Opening) -> Feed:
    """The batches of a run; `folders.val` is the test set. A damaged file raises ValueError once it is read.

    Training: a random crop resized to `size` × `size` pixels; evaluation: the centre.
    """
    normalise = NormalisePixels(MEAN, DEVIATION, opening.device)
    loader = BatchLoader(opening.workers, opening.device)
    train, test = (
        OneByOne(partial(square, images, size), images.labels, normalise, loader, opening.data.flip)
        for images in (folders.train, folders.val)
    )
    pixels = Pixels(MEAN, DEVIATION, crop=size)
    return Feed.of(train, test, opening, len(folders.classes), pixels, loader, folders.classes)
