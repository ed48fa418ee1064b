"""Batches of images that worker processes read and augment one by one.

Order and augmentation are functions of seed, epoch and place in the epoch alone, not of the number of workers or
processes, so that a resume in the middle of an epoch needs no saved state.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rbp_engine.data.loading.batch_loader import BatchLoader
from rbp_engine.data.loading.prefetch import on_device
from rbp_engine.data.loading.shares import Batches, evaluation_plan
from rbp_engine.data.protocol import Batch


class ImageReader(Protocol):
    """Reads one image at a time. Raises ValueError for a bad image, with a message for the user."""

    labels: NDArray[np.int64]

    def augmented(self, index: int, draw: np.random.Generator) -> Tensor:
        """The image for training, with all random numbers from `draw`; all images have the same shape."""
        ...

    def plain(self, index: int) -> Tensor:
        """The image for evaluation; all images have the same shape."""
        ...


class WorkerTrainBatches:
    """Shuffled, augmented batches of (images [B, C, H, W], labels [B]) on `device`.

    `normalise` turns the images of a batch, on the device, into the network's input. `flip` mirrors with probability
    one half. `workers` processes read, or this process if 0. `batch_size` counts images over all processes: process
    `rank` of `world_size` gets its contiguous share of each batch.
    """

    def __init__(
        self,
        reader: ImageReader,
        normalise: Callable[[Tensor], Tensor],
        *,
        device: torch.device,
        batch_size: int,
        seed: int,
        flip: bool,
        drop_last: bool,
        workers: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.batches = Batches(len(reader.labels), batch_size, drop_last, rank, world_size)
        self.reader = reader
        self.normalise = normalise
        self.device = device
        self.seed = seed
        self.flip = flip
        self.loader = BatchLoader(_Augmented(reader, seed), workers, device)

    def __len__(self) -> int:
        return len(self.batches)

    def size(self, position: int) -> int:
        """Images of the batch at a position, over all processes."""
        return self.batches.size(position)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from position `start` on; earlier ones are not read."""
        for pixels, labels, mirrored in on_device(self.loader.load(self._plan(epoch, start)), self.device):
            if self.flip:
                pixels = torch.where(mirrored.view(-1, 1, 1, 1), pixels.flip(-1), pixels)
            yield self.normalise(pixels), labels

    def _plan(self, epoch: int, start: int) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        """For each batch: the epoch, the place of its first image in the epoch, and the indices of its images."""
        order = np.random.default_rng((self.seed, epoch, 0)).permutation(len(self.reader.labels))
        for position in range(start, len(self)):
            places = self.batches.places(position)
            yield epoch, places.start, order[places]


class WorkerEvaluationBatches:
    """All images in order, each exactly once; process `rank` of `world_size` gets a contiguous share of them.

    `split` is "test" or "held-out"; `batch_size` counts images over all processes.
    """

    def __init__(
        self,
        reader: ImageReader,
        normalise: Callable[[Tensor], Tensor],
        *,
        device: torch.device,
        batch_size: int,
        workers: int,
        split: str = "test",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.split = split
        self.normalise = normalise
        self.device = device
        self.loader = BatchLoader(_Plain(reader), workers, device)
        self.plan = evaluation_plan(len(reader.labels), batch_size, rank, world_size)

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        plan = (np.arange(places.start, places.stop) for places in self.plan)
        for pixels, labels in on_device(self.loader.load(plan), self.device):
            yield self.normalise(pixels), labels


# An item of these data sets is a whole batch, or an error message that names the damaged file.


class _Augmented(Dataset[Any]):
    def __init__(self, reader: ImageReader, seed: int) -> None:
        self.reader = reader
        self.seed = seed

    def __getitem__(self, key: tuple[int, int, NDArray[np.int64]]) -> tuple[Tensor, Tensor, Tensor] | str:
        epoch, first, indices = key
        images, mirrored = [], []
        try:
            for place, index in enumerate(indices.tolist(), first):
                draw = np.random.default_rng((self.seed, epoch, 1 + place))
                mirrored.append(draw.random() < 0.5)
                images.append(self.reader.augmented(index, draw))
        except ValueError as error:
            return str(error)
        return torch.stack(images), torch.from_numpy(self.reader.labels[indices]), torch.tensor(mirrored)


class _Plain(Dataset[Any]):
    def __init__(self, reader: ImageReader) -> None:
        self.reader = reader

    def __getitem__(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor] | str:
        try:
            images = [self.reader.plain(index) for index in indices.tolist()]
        except ValueError as error:
            return str(error)
        return torch.stack(images), torch.from_numpy(self.reader.labels[indices])
