"""The batches of a run from frames of events, in a cache or in memory."""

from typing import Any

import torch

from rbp_engine.data.events.cache import Samples
from rbp_engine.data.events.sources import Chosen, event_evaluation, event_training
from rbp_engine.data.feed import Feed
from rbp_engine.data.loading.batch_loader import BatchLoader
from rbp_engine.data.loading.source import EvaluationBatches, TrainingBatches
from rbp_engine.data.preprocess import Frames


def event_feed(
    train: Samples,
    test: Samples,
    classes: int,
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
    batches: dict[str, Any] = {"batch_size": batch_size, "rank": rank, "world_size": world_size}
    loader = BatchLoader(workers, device)

    def evaluation(part: Chosen, split: str) -> EvaluationBatches:
        return event_evaluation(part.samples, part.index, loader, split=split, **batches)

    def training(part: Chosen) -> TrainingBatches:
        return event_training(part.samples, part.index, loader, seed=seed, **augmentation, **batches)

    described = classes, Frames(int(train.counts.shape[2]), train.scale), class_names, loader
    return Feed.of(Chosen.all_of(train), Chosen.all_of(test), held_out, training, evaluation, *described)
