"""The batches of a run from frames of events, in a cache or in memory."""

from typing import Any

import numpy as np
import torch

from rbp_engine.data.events.cache import Samples
from rbp_engine.data.events.sources import event_evaluation, event_training
from rbp_engine.data.feed import Feed
from rbp_engine.data.preprocess import Frames
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
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    class_names: tuple[str, ...] = (),
    **augmentation: Any,
) -> Feed:
    """Batches of samples in memory or on disk; `held_out` is the fraction of the training samples to validate on.

    `augmentation` is that of `event_training`.
    """
    batches: dict[str, Any] = {"device": device, "batch_size": batch_size, "workers": workers}
    batches |= {"rank": rank, "world_size": world_size}
    kept = np.arange(len(train))
    test_source = validation = event_evaluation(test, np.arange(len(test)), **batches)
    if held_out:
        kept, held = stratified_indices(train.labels, held_out)
        validation = event_evaluation(train, held, split="held-out", **batches)
    source = event_training(train, kept, seed=seed, **augmentation, **batches)
    channels = int(train.counts.shape[2])
    raw = Frames(channels, train.scale)
    return Feed(source, validation, test_source, classes, channels, raw, record, class_names)


def data_record(values: dict[str, object]) -> dict[str, str]:
    """Values as the strings of a data record."""
    return {key: "; ".join(value) if isinstance(value, list) else _text(value) for key, value in values.items()}


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return str(value)
