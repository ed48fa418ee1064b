"""`fake`: random images of any shape, for benchmarks only: there is nothing to learn in them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rbp_engine.data.protocol import Batch, Feed
from rbp_engine.data.shares import Batches, evaluation_plan
from rbp_engine.data.splits import DataSplits, Images


def fake(
    *,
    shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    train_size: int = 1024,
    test_size: int = 256,
    seed: int = 0,
) -> DataSplits:
    """Random pixels of `shape` (channels, height, width) with random labels; the same for the same seed."""
    draw = torch.Generator().manual_seed(seed)
    train, test = (
        Images(
            torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=draw),
            torch.randint(0, classes, (count,), generator=draw),
        )
        for count in (train_size, test_size)
    )
    return DataSplits(train, test, classes, mean=(0.5,) * shape[0], deviation=(0.25,) * shape[0])


def fake_frames(
    *,
    timesteps: int,
    shape: tuple[int, int, int] = (2, 48, 48),
    classes: int = 10,
    train_size: int = 256,
    test_size: int = 64,
    batch_size: int,
    seed: int = 0,
    device: torch.device,
    rank: int = 0,
    world_size: int = 1,
) -> Feed:
    """Random frames, one for each timestep: batches are [T, B, C, H, W] float32, as those of event data."""
    splits = fake(
        shape=(timesteps * shape[0], shape[1], shape[2]),
        classes=classes,
        train_size=train_size,
        test_size=test_size,
        seed=seed,
    )
    train, test = (
        FrameBatches(
            side.pixels.view(len(side), timesteps, *shape).to(device),
            side.labels.to(device),
            batch_size,
            seed,
            rank=rank,
            world_size=world_size,
        )
        for side in (splits.train, splits.test)
    )
    return Feed(train, test, test, classes, shape[0], {"name": "fake"})


@dataclass
class FrameBatches:
    """Batches of frames uint8 [N, T, C, H, W] as float32 [T, B, C, H, W], with labels [B]: for training and the test.

    An epoch is shuffled, an evaluation is not. `batch_size` counts samples over all processes.
    """

    frames: Tensor
    labels: Tensor
    batch_size: int
    seed: int
    split: str = "test"
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        self.batches = Batches(len(self.labels), self.batch_size, rank=self.rank, world_size=self.world_size)

    def __len__(self) -> int:
        return len(self.batches)

    def size(self, position: int) -> int:
        """Samples of the batch at a position, over all processes."""
        return self.batches.size(position)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from the one at position `start` on."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.labels))
        for position in range(start, len(self)):
            yield self._batch(torch.from_numpy(order[self.batches.places(position)]).to(self.labels.device))

    def __iter__(self) -> Iterator[Batch]:
        for places in evaluation_plan(len(self.labels), self.batch_size, self.rank, self.world_size):
            yield self._batch(places)

    def _batch(self, chosen: Tensor | slice) -> Batch:
        return self.frames[chosen].transpose(0, 1).float() / 255, self.labels[chosen]
