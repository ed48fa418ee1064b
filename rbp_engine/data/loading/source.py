"""Batches of samples in memory, in files or of events: their order, and what each process gets of them.

Order and augmentation are functions of seed, epoch and place in the epoch alone, not of the number of workers or
processes, so that a resume in the middle of an epoch needs no saved state.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rbp_engine.data.loading.batch_loader import Batch, Read
from rbp_engine.data.loading.shares import Batches, Share, evaluation_plan


@dataclass(frozen=True)
class Wanted:
    """This process's `share` of the batch at a position of an epoch: the samples at `indices`.

    `first` is the place of the first of them in the epoch.
    """

    epoch: int
    position: int
    first: int
    indices: Any
    share: Share


def permutation(seed: int, count: int) -> Callable[[int], Any]:
    """The order of so many samples in each epoch."""
    return lambda epoch: np.random.default_rng((seed, epoch, 0)).permutation(count)


class TrainingBatches:
    """Shuffled batches: what is read in the `order` of an epoch, and then finished.

    `finish` turns what is wanted and what was read into the batch.
    """

    def __init__(self, read: Read, finish: Callable[..., Batch], order: Callable[[int], Any], batches: Batches) -> None:
        self.read, self.finish, self.order, self.batches = read, finish, order, batches

    def __len__(self) -> int:
        return len(self.batches)

    def size(self, position: int) -> int:
        """Samples of the batch at a position, over all processes."""
        return self.batches.size(position)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from position `start` on; earlier ones are not read."""
        order = self.order(epoch)
        plan = [self._wanted(epoch, position, order) for position in range(start, len(self))]
        for wanted, read in zip(plan, self.read(plan), strict=True):
            yield self.finish(wanted, *read)

    def _wanted(self, epoch: int, position: int, order: Any) -> Wanted:
        places = self.batches.places(position)
        return Wanted(epoch, position, places.start, order[places], self.batches.share(position))


class EvaluationBatches:
    """All `count` samples in order, each exactly once, as `TrainingBatches` has them; `split` is "test" or "held-out".

    Process `rank` of `world_size` gets a contiguous share of them, and `batch_size` counts samples over all processes.
    """

    def __init__(
        self,
        read: Read,
        finish: Callable[..., Batch],
        count: int,
        *,
        batch_size: int,
        split: str = "test",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.read, self.finish, self.split = read, finish, split
        self.plan = [
            Wanted(0, position, places.start, np.arange(places.start, places.stop), Share.whole(count))
            for position, places in enumerate(evaluation_plan(count, batch_size, rank, world_size))
        ]

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        for wanted, read in zip(self.plan, self.read(self.plan), strict=True):
            yield self.finish(wanted, *read)
