"""`fake`: random images of any shape, only for benchmarks: there is nothing to learn."""

from collections.abc import Mapping
from typing import Any

import torch

from rbp_engine.data.events.cache import Samples
from rbp_engine.data.events.opening import event_feed
from rbp_engine.data.protocol import Feed
from rbp_engine.data.splits import DataSplits, Images


def arguments_of(args: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The arguments of `fake`, or of `fake_frames` if `frames` is true: those in `data.args`, and defaults.

    `size` is `data.size`, the side of the default shape in pixels, or 0.
    """
    if args.get("frames"):
        defaults = {"shape": (2, size or 48, size or 48), "train_size": 256, "test_size": 64}
    else:
        defaults = {"shape": (3, size or 32, size or 32), "train_size": 1024, "test_size": 256}
    given = {name: value for name, value in args.items() if name != "frames"}
    return {"classes": 10} | defaults | given


def fake(
    *,
    shape: tuple[int, int, int],
    classes: int,
    train_size: int,
    test_size: int,
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
    shape: tuple[int, int, int],
    classes: int,
    train_size: int,
    test_size: int,
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
