"""The training curves for TensorBoard, in the run's `tensorboard/`."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from rbp_engine.run.files import inside


class TensorBoardLog:
    """Writes scalars by step; TensorBoard hides what an earlier attempt wrote from `purge_step` on.

    `folder` and the one that it lies in are those of a run: it is made if it is missing, and must not be a link. The
    library takes a path and opens it again with every write, so it gets one through the descriptor of the folder. It
    makes the file itself, under a name with the time and the process.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._open = ExitStack()
        here = self._open.enter_context(inside.folder(folder, folder.parent, make=True))
        self._writer = SummaryWriter(str(here.by_descriptor), purge_step=purge_step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write values by tag at an optimizer step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()
        self._open.close()
