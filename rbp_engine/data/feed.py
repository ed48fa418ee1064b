"""What a run asks of its data set, and the batches that it gets, from memory, folders or a cache on disk."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
import torch

from rbp_engine.data.loading.batch_loader import BatchLoader
from rbp_engine.data.loading.shares import Cut
from rbp_engine.data.loading.source import EvaluationBatches, Source, TrainingBatches
from rbp_engine.data.loading.workers import cores_of_a_rank, reading_processes
from rbp_engine.data.preprocess import Preprocess
from rbp_engine.data.stratified import stratified_indices
from rbp_engine.vocabulary import FramesBy, Orientation, Resize, SplitName


class DataSettings(Protocol):
    """The settings of `[data]` that decide what is read, and how; a preset says what each of them means."""

    name: str
    args: dict[str, Any]
    batch_size: int
    crop_padding: int
    flip: bool
    auto_augment: bool
    augment_backend: Literal["batched", "pil"]
    cutout: int
    mixup: float
    cutmix: float
    size: int
    roll: int
    frames_by: FramesBy
    split: SplitName
    resize: Resize
    orientation: Orientation
    workers: int | Literal["auto"]
    drop_last: bool


@dataclass(frozen=True)
class Opening:
    """A run's settings of its data and its T, and how the process that reads cuts its epochs into batches.

    `held_out` is the fraction of the training set to validate on.
    """

    data: DataSettings
    timesteps: int
    held_out: float
    device: torch.device
    cut: Cut

    @property
    def workers(self) -> int:
        """The processes that read ahead in this rank."""
        return reading_processes(self.data.workers, cores_of_a_rank())


@dataclass(frozen=True)
class Feed:
    """The batches of a run. `validation`, evaluated after each epoch, is held-out samples or the test set itself.

    `preprocess` makes the network's input from raw images, as the evaluation does. `class_names` are the names of the
    classes by label, empty if they have none. `loader` is what reads them, with processes if it has any. `notes`
    are warnings for the user, each a sentence.
    """

    train: TrainingBatches
    validation: EvaluationBatches
    test: EvaluationBatches
    classes: int
    preprocess: Preprocess
    loader: BatchLoader
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, train: Source, test: Source, opening: Opening, *described: Any) -> Self:
        """The batches of samples to train on and to test on, a fraction of the former held out if that is asked for.

        `described` are the other fields, in their order. Raises SettingsError if a class would be empty.
        """
        cut, kept = opening.cut, None
        tested = validation = test.evaluation(cut)
        if opening.held_out:
            kept, held = stratified_indices(np.asarray(train.labels), opening.held_out)
            validation = train.evaluation(cut, "held-out", held)
        return cls(train.training(cut, kept), validation, tested, *described)

    @property
    def has_time(self) -> bool:
        """Whether images are [T, B, …], one for each timestep, and not [B, …]."""
        return self.preprocess.has_time
