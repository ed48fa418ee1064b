"""Batches of samples in memory, in files or of events: their order, and what each process gets of them.

Order and augmentation are functions of seed, epoch and place in the epoch alone, not of the number of workers or
processes, so that a resume in the middle of an epoch needs no saved state.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from rbp_engine.data.loading.batch_loader import Batch, Read
from rbp_engine.data.loading.shares import Batches, Cut, Share, evaluation_plan


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

    Each process gets a contiguous share of them.
    """

    def __init__(self, read: Read, finish: Callable[..., Batch], count: int, cut: Cut, split: str = "test") -> None:
        self.read, self.finish, self.split = read, finish, split
        self.plan = [
            Wanted(0, position, places.start, np.arange(places.start, places.stop), Share.whole(count))
            for position, places in enumerate(evaluation_plan(count, cut))
        ]

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        for wanted, read in zip(self.plan, self.read(self.plan), strict=True):
            yield self.finish(wanted, *read)


class Source(Protocol):
    """Samples of which batches are made, and of which a part can be held out."""

    @property
    def labels(self) -> Any:
        """The class of each sample, a tensor or an array [N] of integers."""
        ...

    def subset(self, index: NDArray[np.int64]) -> Self:
        """The samples at `index`, in that order."""
        ...

    def training(self, cut: Cut) -> TrainingBatches:
        """Shuffled, augmented batches. Raises SettingsError for batches that cannot be filled."""
        ...

    def evaluation(self, cut: Cut, split: str) -> EvaluationBatches:
        """All samples in order, as the batches of a split."""
        ...
