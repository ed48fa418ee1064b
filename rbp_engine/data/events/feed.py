"""The batches of a run from frames of events, in a cache or in memory."""

from typing import Any

import numpy as np
import torch

from rbp_engine.data.events.cache import Samples
from rbp_engine.data.events.sources import EventEvaluation, EventTraining
from rbp_engine.data.preprocess import Frames
from rbp_engine.data.protocol import Feed
from rbp_engine.data.stratified import stratified_indices


def event_feed(
    train: Samples,
    test: Samples,
    classes: int,
    record: dict[str, str],
    *,
    device: torch.device,
    batch_size: int,
    seed: int,
    held_out: float = 0.0,
    flip: bool = False,
    roll: int = 0,
    drop_last: bool = False,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    class_names: tuple[str, ...] = (),
) -> Feed:
    """Batches of samples in memory or on disk; `held_out` is the fraction of the training samples to validate on."""
    batches: dict[str, Any] = {
        "device": device,
        "batch_size": batch_size,
        "workers": workers,
        "rank": rank,
        "world_size": world_size,
    }
    kept, judged = np.arange(len(train)), np.arange(len(test))
    test_source = EventEvaluation(test, judged, **batches)
    validation = test_source
    if held_out:
        kept, held = stratified_indices(train.labels, held_out)
        validation = EventEvaluation(train, held, split="held-out", **batches)
    source = EventTraining(train, kept, seed=seed, flip=flip, roll=roll, drop_last=drop_last, **batches)
    channels = int(train.counts.shape[2])
    raw = Frames(channels, train.scale)
    loaders = (source.loader, validation.loader, test_source.loader) if workers else ()
    return Feed(source, validation, test_source, classes, channels, raw, record, loaders, class_names)


def data_record(values: dict[str, object]) -> dict[str, str]:
    """Values as the strings of a data record."""
    return {key: "; ".join(value) if isinstance(value, list) else _text(value) for key, value in values.items()}


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return str(value)
