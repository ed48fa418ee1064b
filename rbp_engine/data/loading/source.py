"""Batches that are read from files, ahead of training: their order, and what each process reads of them.

Order and augmentation are functions of seed, epoch and place in the epoch alone, not of the number of workers or
processes, so that a resume in the middle of an epoch needs no saved state.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from rbp_engine.data.loading.batch_loader import BatchLoader
from rbp_engine.data.loading.prefetch import on_device
from rbp_engine.data.loading.shares import Batches, Share, evaluation_plan
from rbp_engine.data.protocol import Batch


@dataclass(frozen=True)
class Wanted:
    """This process's `share` of the batch at a position of an epoch: the samples at `indices`.

    `first` is the place of the first of them in the epoch.
    """

    epoch: int
    position: int
    first: int
    indices: NDArray[np.int64]
    share: Share


class Training:
    """Shuffled batches on `device`: each is an item of `read`, by what is wanted, or an error message.

    `finish` turns what is wanted and what was read, on the device, into the batch. `workers` processes read ahead, or
    this process reads if 0.
    """

    def __init__(
        self,
        read: Dataset[Any],
        finish: Callable[..., Batch],
        batches: Batches,
        *,
        seed: int,
        device: torch.device,
        workers: int,
    ) -> None:
        self.finish, self.batches, self.seed, self.device = finish, batches, seed, device
        self.loader = BatchLoader(read, workers, device)

    def __len__(self) -> int:
        return len(self.batches)

    def size(self, position: int) -> int:
        """Samples of the batch at a position, over all processes."""
        return self.batches.size(position)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from position `start` on; earlier ones are not read."""
        order = np.random.default_rng((self.seed, epoch, 0)).permutation(self.batches.count)
        plan = [self._wanted(epoch, position, order) for position in range(start, len(self))]
        for wanted, read in zip(plan, on_device(self.loader.load(plan), self.device), strict=True):
            yield self.finish(wanted, *read)

    def _wanted(self, epoch: int, position: int, order: NDArray[np.int64]) -> Wanted:
        places = self.batches.places(position)
        return Wanted(epoch, position, places.start, order[places], self.batches.share(position))


class Evaluation:
    """All `count` samples in order, each exactly once, as `Training` has them; `split` is "test" or "held-out".

    Process `rank` of `world_size` gets a contiguous share of them, and `batch_size` counts samples over all processes.
    """

    def __init__(
        self,
        read: Dataset[Any],
        finish: Callable[..., Batch],
        count: int,
        *,
        device: torch.device,
        batch_size: int,
        workers: int,
        split: str = "test",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.finish, self.device, self.split = finish, device, split
        self.loader = BatchLoader(read, workers, device)
        self.plan = [
            Wanted(0, position, places.start, np.arange(places.start, places.stop), Share.whole(count))
            for position, places in enumerate(evaluation_plan(count, batch_size, rank, world_size))
        ]

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        for wanted, read in zip(self.plan, on_device(self.loader.load(self.plan), self.device), strict=True):
            yield self.finish(wanted, *read)
