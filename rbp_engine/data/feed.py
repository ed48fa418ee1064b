"""The batches of a run, whether its samples are in memory, in folders or in a cache on disk."""

from dataclasses import dataclass

from rbp_engine.data.loading.batch_loader import BatchLoader, start_together
from rbp_engine.data.loading.source import EvaluationBatches, TrainingBatches
from rbp_engine.data.preprocess import Preprocess


@dataclass(frozen=True)
class Feed:
    """The batches of a run. `validation`, evaluated after each epoch, is held-out samples or the test set itself.

    `preprocess` makes the network's input from raw images, as the evaluation does. `record` describes the data for
    `run.json`: everything that decides what the network saw (split, hash of its index list, orientation, resize).
    `class_names` are the names of the classes by label, empty if they have none. `notes` are warnings for the user,
    each a sentence.
    """

    train: TrainingBatches
    validation: EvaluationBatches
    test: EvaluationBatches
    classes: int
    channels: int
    preprocess: Preprocess
    record: dict[str, str]
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def loaders(self) -> tuple[BatchLoader, ...]:
        """What may have worker processes."""
        sources = (self.train, self.validation, self.test)
        return tuple(dict.fromkeys(source.loader for source in sources if source.loader is not None))

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
