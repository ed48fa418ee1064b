"""What every data set gives to training, whether it lies in memory, in folders or in a cache on disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from rbp_engine.data.loading.batch_loader import BatchLoader

# Images on the device, [B, C, H, W] or [T, B, C, H, W] float32, and labels [B] int64.
Batch = tuple[Tensor, Tensor]


class TrainingSource(Protocol):
    """Shuffled and augmented batches; what an epoch contains is a function of (seed, epoch) alone.

    Of several processes, each has its contiguous share of every batch.
    """

    def __len__(self) -> int:
        """Batches of an epoch."""
        ...

    def size(self, position: int) -> int:
        """Samples of the batch at a position, over all processes."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from the one at position `start` on."""
        ...


class EvaluationSource(Protocol):
    """All samples in order, none twice, none left out; `split` is "test" or "held-out".

    Of several processes, each has a contiguous share, which may be empty.
    """

    split: str

    def __iter__(self) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Feed:
    """The batches of a run. `validation` is what each epoch is judged by: held-out samples, or the test set itself.

    `record` says which data it was, for `run.json`: whatever decides what was seen (split, hash of its index list,
    orientation, resize). `loaders` are those of its sources that may have worker processes.
    """

    train: TrainingSource
    validation: EvaluationSource
    test: EvaluationSource
    classes: int
    channels: int
    record: dict[str, str]
    loaders: tuple[BatchLoader, ...] = ()

    def start(self) -> None:
        """Start all worker processes now; before this process has threads of torch.distributed."""
        for loader in self.loaders:
            loader.start()

    def stop(self) -> None:
        """End them."""
        for loader in self.loaders:
            loader.stop()
