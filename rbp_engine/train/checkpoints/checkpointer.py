"""When a checkpoint is due, and all the steps of saving one."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from rbp_engine.printable import one_line
from rbp_engine.probes.random_numbers import generator_state
from rbp_engine.run.files import inside
from rbp_engine.run.files.events import CheckpointSaved
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.errors import CheckpointError, NonFiniteLoss
from rbp_engine.train.finite import FiniteGuard
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.record.recorder import Recorder


class Checkpointer:
    """Saves by epoch or by time (`every` is ("epochs", n) or ("seconds", n)), and when `control/checkpoint` exists.

    Of several ranks, rank 0 decides when; all save together, and rank 0 writes.
    """

    def __init__(
        self,
        run: RunDirectory,
        state: State,
        recorder: Recorder,
        *,
        every: tuple[str, float],
        experiment: str,
        ranks: Ranks,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.run = run
        self.state = state
        self.recorder = recorder
        self.unit, self.interval = every
        self.experiment = experiment
        self.ranks = ranks
        self.metadata = metadata
        self._due_since = time.monotonic()
        self._saved: Progress | None = None

    def due(self, at: Progress) -> bool:
        """Whether the interval has passed at this step boundary, or a checkpoint was requested; true only once."""
        if self.ranks.rank != 0:
            return False
        if self.unit == "epochs":
            passed = at.position == 0 and at.epoch % self.interval == 0
        else:
            passed = time.monotonic() - self._due_since >= self.interval
        requested = self.run.checkpoint_request.exists()
        if passed or requested:
            self._due_since = time.monotonic()
            inside.unlink(self.run.checkpoint_request, self.run.path)
        return passed or requested

    def save(self, at: Progress, *, best: bool = False) -> None:
        """Write all metrics, then the checkpoint, then its event, but not twice for the same `at`.

        Each is on disk before the next begins, so that a power loss leaves no checkpoint without the metrics before it.
        Raises NonFiniteLoss rather than save weights that cannot be trained further.
        """
        self.recorder.drain()
        self._save_at(at, best=best)
        self._due_since = time.monotonic()
        self.recorder.begin()

    def _save_at(self, at: Progress, *, best: bool = False) -> None:
        if at != self._saved:
            self._check_weights(at)
            self.recorder.journal.sync()  # on every rank, before rank 0 writes a checkpoint of this step
            generators = self.ranks.collect(generator_state())
            recorded = self.recorder.state()
            if self.ranks.rank == 0:
                self._write(at, generators, recorded, best=best)
        self._saved = at

    @contextlib.contextmanager
    def last_finite_saved(self, guard: FiniteGuard) -> Iterator[None]:
        """Save a checkpoint of the last finite step if training ends with NonFiniteLoss."""
        try:
            yield
        except NonFiniteLoss:
            self._save_last_finite(guard)
            raise

    def _save_last_finite(self, guard: FiniteGuard) -> None:
        """Save the state that the guard has kept, if it has skipped steps.

        A resume from there sees the same batch with different random numbers; its mean loss starts at that step.
        """
        skipped, reached = guard.skipped, self.recorder.reached
        at = Progress(reached.step - skipped, reached.epoch, reached.position - skipped)
        if not skipped or at.step == 0:
            return
        guard.restore_statistics()
        self.recorder.forget_open_window()
        # The original error is already being reported.
        with contextlib.suppress(NonFiniteLoss, CheckpointError, OSError):
            self._save_at(at)

    def _write(self, at: Progress, generators: list[dict[str, Any]], recorded: dict[str, Any], *, best: bool) -> None:
        started = time.perf_counter()
        saved = checkpoint.save(
            self.run.checkpoints,
            self.state,
            at,
            recorded,
            experiment=self.experiment,
            generators=generators,
            best=best,
            metadata=self.metadata,
        )
        size = sum((saved.path / name).stat().st_size for name in (*saved.files, checkpoint.MANIFEST))
        took = 1000.0 * (time.perf_counter() - started)
        self.recorder.journal.write(CheckpointSaved(one_line(saved.path.name), size, took, best), at.step)

    def _check_weights(self, at: Progress) -> None:
        # The largest magnitudes, also of running statistics, which can become non-finite before any weight does.
        tensors = [tensor for tensor in self.state.trained.state_dict().values() if tensor.is_floating_point()]
        norms = torch._foreach_norm(tensors, math.inf)
        bad = not bool(torch.isfinite(torch.stack(norms)).all())
        if any(self.ranks.largest(bad)):
            raise NonFiniteLoss(f"a weight or a running statistic is not finite after step {at.step}")
