"""When a checkpoint is due, and what belongs to saving one."""

import math
import time

import torch
from torch import nn

from rbp_engine.run.events import CheckpointSaved
from rbp_engine.run.layout import RunDirectory
from rbp_engine.train import checkpoint
from rbp_engine.train.checkpoint import Progress
from rbp_engine.train.recorder import NonFiniteLoss, Recorder


class Checkpointer:
    """Saves by epoch or by time (`every` is ("epochs", n) or ("seconds", n)), and when `control/checkpoint` asks."""

    def __init__(
        self,
        run: RunDirectory,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        recorder: Recorder,
        *,
        every: tuple[str, float],
        experiment: str,
    ) -> None:
        self.run = run
        self.model = model
        self.optimizer = optimizer
        self.recorder = recorder
        self.unit, self.interval = every
        self.experiment = experiment
        self._saved_at = time.monotonic()
        self._saved: Progress | None = None

    def due(self, at: Progress) -> bool:
        """Whether the interval has passed at this step boundary, or somebody has asked."""
        now = time.monotonic()
        if self.unit == "epochs":
            passed = at.position == 0 and at.epoch % self.interval == 0
        else:
            passed = now - self._saved_at >= self.interval
        return passed or self.run.checkpoint_request.exists()

    def save(self, at: Progress, *, best: bool = False) -> None:
        """Write down all metrics, then the checkpoint, then the event that names it; not twice at the same place.

        Raises NonFiniteLoss rather than save weights that cannot be trained on.
        """
        self.recorder.drain()
        if at != self._saved:
            started = time.perf_counter()
            self._check_weights(at)
            saved = checkpoint.save(
                self.run.checkpoints,
                self.model,
                self.optimizer,
                at,
                self.recorder.state(),
                experiment=self.experiment,
            )
            if best:
                checkpoint.keep_as_best(saved)
            size = sum(path.stat().st_size for path in saved.path.iterdir())
            took = 1000.0 * (time.perf_counter() - started)
            self.recorder.journal.write(CheckpointSaved(saved.path.name, size, took, best))
        self._saved, self._saved_at = at, time.monotonic()
        self.run.checkpoint_request.unlink(missing_ok=True)
        self.recorder.begin()

    def _check_weights(self, at: Progress) -> None:
        # The largest magnitudes; running statistics can go wrong before any weight does.
        tensors = [tensor for tensor in self.model.state_dict().values() if tensor.is_floating_point()]
        norms = torch._foreach_norm(tensors, math.inf)
        if not bool(torch.isfinite(torch.stack(norms)).all()):
            raise NonFiniteLoss(f"a weight or a running statistic is not finite after step {at.step}")
