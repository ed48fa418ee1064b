"""`fake`: random images of any shape, only for benchmarks: there is nothing to learn."""

from typing import Any

import torch

from rbp_engine.data.events.cache import Samples
from rbp_engine.data.events.opening import event_feed
from rbp_engine.data.protocol import Feed
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
    seed: int = 0,
    **batches: Any,
) -> Feed:
    """Random frames, one per timestep, in `batches` like those of event data, see `event_feed`."""
    channels, height, width = shape
    splits = fake(
        shape=(timesteps * channels, height, width),
        classes=classes,
        train_size=train_size,
        test_size=test_size,
        seed=seed,
    )
    train, test = (
        Samples(side.pixels.view(len(side), timesteps, *shape).numpy(), side.labels.numpy(), scale=1 / 255)
        for side in (splits.train, splits.test)
    )
    return event_feed(train, test, classes, {"name": "fake"}, seed=seed, **batches)
