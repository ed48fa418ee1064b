"""The batches of a run, whether its samples are in memory, in folders or in a cache on disk."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from rbp_engine.data.loading.batch_loader import BatchLoader
from rbp_engine.data.loading.source import EvaluationBatches, TrainingBatches
from rbp_engine.data.preprocess import Preprocess
from rbp_engine.data.stratified import stratified_indices


class Divisible(Protocol):
    """Samples of which a part can be held out; `labels` are a tensor or an array [N] of integers."""

    @property
    def labels(self) -> Any:
        """The class of each sample."""
        ...

    def subset(self, index: NDArray[np.int64]) -> Self:
        """The samples at `index`, in that order."""
        ...


Samples = TypeVar("Samples", bound=Divisible)


@dataclass(frozen=True)
class Feed:
    """The batches of a run. `validation`, evaluated after each epoch, is held-out samples or the test set itself.

    `preprocess` makes the network's input from raw images, as the evaluation does. `class_names` are the names of the
    classes by label, empty if they have none. `loader` is what reads them, if it may have processes. `notes` are
    warnings for the user, each a sentence.
    """

    train: TrainingBatches
    validation: EvaluationBatches
    test: EvaluationBatches
    classes: int
    preprocess: Preprocess
    class_names: tuple[str, ...] = ()
    loader: BatchLoader | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        train: Samples,
        test: Samples,
        held_out: float,
        training: Callable[[Samples], TrainingBatches],
        evaluation: Callable[[Samples, str], EvaluationBatches],
        *described: Any,
    ) -> Self:
        """The batches of samples to train on and to test on; `held_out` is the fraction of the former to validate on.

        `training` and `evaluation` make batches, those for evaluation by the name of their split. `described` are the
        other fields, in their order. Raises SettingsError if a class would be empty.
        """
        tested = validation = evaluation(test, "test")
        if held_out:
            kept, held = stratified_indices(np.asarray(train.labels), held_out)
            validation, train = evaluation(train.subset(held), "held-out"), train.subset(kept)
        return cls(training(train), validation, tested, *described)

    @property
    def channels(self) -> int:
        """The channels of the network's input."""
        return self.preprocess.channels

    @property
    def has_time(self) -> bool:
        """Whether images are [T, B, …], one for each timestep, and not [B, …]."""
        return self.preprocess.has_time

    def start(self) -> None:
        """Start the worker processes; call this before torch.distributed starts threads in this process."""
        if self.loader is not None:
            self.loader.start()

    def stop(self) -> None:
        """End the worker processes."""
        if self.loader is not None:
            self.loader.stop()
