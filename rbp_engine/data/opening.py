"""What a run asks of its data set."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rbp_engine.data.loading.shares import Cut
from rbp_engine.data.loading.workers import cores_of_a_rank, reading_processes
from rbp_engine.vocabulary import FramesBy, Orientation, Resize, SplitName

if TYPE_CHECKING:
    import torch


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
    device: "torch.device"
    cut: Cut

    @property
    def workers(self) -> int:
        """The processes that read ahead in this rank."""
        return reading_processes(self.data.workers, cores_of_a_rank())
