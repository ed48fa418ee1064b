"""Batches of samples in memory, in files or of events: their order, and what each process gets of them.

Order and augmentation are functions of seed, epoch and place in the epoch alone, not of the number of workers or
processes, so that a resume in the middle of an epoch needs no saved state.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rbp_engine.data.loading.batch_loader import Batch, Read
from rbp_engine.data.loading.shares import Cut, Share, evaluation_plan
from rbp_engine.errors import SettingsError

Index = NDArray[np.int64]
#: Turns what is wanted and what was read into the batch.
Finish = Callable[..., Batch]


@dataclass(frozen=True)
class Wanted:
    """This process's `share` of the batch at a position of an epoch: the samples at `indices`.

    `first` is the place of the first of them in the epoch.
    """

    epoch: int
    position: int
    first: int
    indices: Index
    share: Share


class TrainingBatches:
    """Shuffled batches of `count` samples: those in the `order` of an epoch are read, and then finished.

    `finish` turns what is wanted and what was read into the batch. Raises SettingsError if there would be no batch, or
    one with fewer samples than processes.
    """

    def __init__(self, read: Read, finish: Finish, order: Callable[[int], Index], count: int, cut: Cut) -> None:
        self.read, self.finish, self.order, self.count, self.cut = read, finish, order, count, cut
        if len(self) == 0:
            raise SettingsError(
                f"data.batch_size = {cut.batch_size} is more than the {count} training samples (drop_last)"
            )
        smallest = self.size(len(self) - 1)
        if smallest < cut.world_size:
            what = "data.batch_size" if smallest == cut.batch_size else "the last batch of an epoch"
            remedy = "a larger one" if smallest == cut.batch_size else "data.drop_last = true, or another batch size"
            raise SettingsError(f"{what} = {smallest} is less than the {cut.world_size} processes: use {remedy}")

    def __len__(self) -> int:
        return self.count // self.cut.batch_size if self.cut.drop_last else -(-self.count // self.cut.batch_size)

    def size(self, position: int) -> int:
        """Samples of the batch at a position of the epoch, over all processes."""
        return min(self.cut.batch_size, self.count - position * self.cut.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from position `start` on; earlier ones are not read."""
        order = self.order(epoch)
        plan = [self._wanted(epoch, position, order) for position in range(start, len(self))]
        for wanted, read in zip(plan, self.read(plan), strict=True):
            yield self.finish(wanted, *read)

    def _wanted(self, epoch: int, position: int, order: Index) -> Wanted:
        share = Share.part(self.size(position), self.cut.rank, self.cut.world_size)
        start = position * self.cut.batch_size
        return Wanted(epoch, position, start + share.first, order[start + share.first : start + share.end], share)


class EvaluationBatches:
    """The samples at `index` in order, as `TrainingBatches` has them; `split` is "test" or "held-out".

    Each process gets a contiguous share of them.
    """

    def __init__(self, read: Read, finish: Finish, index: Index, cut: Cut, split: str = "test") -> None:
        self.read, self.finish, self.split = read, finish, split
        self.plan = [
            Wanted(0, position, places.start, index[places], Share.whole(len(index)))
            for position, places in enumerate(evaluation_plan(len(index), cut))
        ]

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        for wanted, read in zip(self.plan, self.read(self.plan), strict=True):
            yield self.finish(wanted, *read)


class Source(ABC):
    """Samples of which batches are made: of all of them, or of those at an index, in that order."""

    @property
    @abstractmethod
    def labels(self) -> Any:
        """The class of each sample, a tensor or an array [N] of integers."""

    @abstractmethod
    def reading(self, seed: int | None) -> tuple[Read, Finish]:
        """How samples are read and finished: augmented by this seed, or plain without one, for an evaluation."""

    def order(self, index: Index, seed: int) -> Callable[[int], Index]:
        """The samples at `index` in the order of each epoch."""
        return lambda epoch: index[np.random.default_rng((seed, epoch, 0)).permutation(len(index))]

    def training(self, cut: Cut, index: Index | None = None) -> TrainingBatches:
        """Shuffled, augmented batches of (images [B, …] or [T, B, …], labels [B]).

        Raises SettingsError for batches that cannot be filled.
        """
        index = self._all() if index is None else index
        return TrainingBatches(*self.reading(cut.seed), self.order(index, cut.seed), len(index), cut)

    def evaluation(self, cut: Cut, split: str = "test", index: Index | None = None) -> EvaluationBatches:
        """The samples in order, as the batches of a split."""
        return EvaluationBatches(*self.reading(None), self._all() if index is None else index, cut, split)

    def _all(self) -> Index:
        return np.arange(len(self.labels))
