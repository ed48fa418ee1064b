"""What a run asks of its data set."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rbp_engine.data.loading.shares import Cut
from rbp_engine.data.loading.workers import cores_of_a_rank, reading_processes

if TYPE_CHECKING:
    import torch

    from rbp_engine.preset.sections.data import DataSection


@dataclass(frozen=True)
class Opening:
    """A run's settings of its data and its T, and how the process that reads cuts its epochs into batches.

    `held_out` is the fraction of the training set to validate on.
    """

    data: "DataSection"
    timesteps: int
    held_out: float
    device: "torch.device"
    cut: Cut

    @property
    def workers(self) -> int:
        """The processes that read ahead in this rank."""
        return reading_processes(self.data.workers, cores_of_a_rank())
