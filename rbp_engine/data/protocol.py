"""The interface of data sets to training, whether they are in memory, in folders or in a cache on disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from rbp_engine.data.loading.batch_loader import Batch as Batch
from rbp_engine.data.loading.batch_loader import BatchLoader, start_together
from rbp_engine.data.preprocess import Preprocess


class TrainingSource(Protocol):
    """Shuffled and augmented batches; the contents of an epoch are a function of (seed, epoch) alone.

    Of several processes, each gets its contiguous share of every batch.
    """

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        ...

    def size(self, position: int) -> int:
        """Samples of the batch at a position, over all processes."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from position `start` on."""
        ...


class EvaluationSource(Protocol):
    """All samples in order, each exactly once; `split` is "test" or "held-out".

    Of several processes, each gets a contiguous share, which may be empty.
    """

    split: str

    def __iter__(self) -> Iterator[Batch]: ...

    def __len__(self) -> int:
        """The number of batches."""
        ...


@dataclass(frozen=True)
class Feed:
    """The batches of a run. `validation`, evaluated after each epoch, is held-out samples or the test set itself.

    `preprocess` makes the network's input from raw images, as the evaluation does. `record` describes the data for
    `run.json`: everything that decides what the network saw (split, hash of its index list, orientation, resize).
    `loaders` are the sources that may have worker processes. `class_names` are the names of the classes by label,
    empty if they have none. `notes` are warnings for the user, each a sentence.
    """

    train: TrainingSource
    validation: EvaluationSource
    test: EvaluationSource
    classes: int
    channels: int
    preprocess: Preprocess
    record: dict[str, str]
    loaders: tuple[BatchLoader, ...] = ()
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_time(self) -> bool:
        """Whether images are [T, B, …], one for each timestep, and not [B, …]."""
        return self.preprocess.has_time

    def start(self) -> None:
        """Start the worker processes; call this before torch.distributed starts threads in this process."""
        start_together(self.loaders)

    def stop(self) -> None:
        """End the worker processes."""
        for loader in self.loaders:
            loader.stop()
