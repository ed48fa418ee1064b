"""The training curves for TensorBoard, in the run's `tensorboard/`."""

from collections.abc import Mapping
from pathlib import Path


class Board:
    """Writes nothing: for ranks other than the first."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write values by tag at an optimizer step."""

    def close(self) -> None:
        """Flush and close."""


class TensorBoardLog(Board):
    """Writes scalars by step; TensorBoard hides what an earlier attempt wrote from `purge_step` on."""

    def __init__(self, folder: Path, purge_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
