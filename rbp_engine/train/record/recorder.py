"""Record training: results of steps stay on the device and are fetched twice a second, in one transfer."""

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from rbp_engine.guard.early_stop import EarlyStop
from rbp_engine.methods import StepOutput
from rbp_engine.printable import one_line
from rbp_engine.probes.step_probe import Probes
from rbp_engine.run.files.events import Metrics, ReachedSoFar, Scores, Validation
from rbp_engine.run.phase import Phase
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.errors import NonFiniteLoss
from rbp_engine.train.memory import MemoryGauge
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.record.journal import Journal
from rbp_engine.train.record.tensorboard import TensorBoardLog

DRAIN_EVERY_S = 0.5


@dataclass
class _Step:
    """A step of this rank, whose results the device may still be computing."""

    progress: Progress
    lr: float
    out: StepOutput
    labels: Tensor
    seconds: float
    fetching_s: float


@dataclass
class _Times:
    """How long steps took, in seconds."""

    steps: int = 0
    seconds: float = 0.0
    fetching_s: float = 0.0

    def add(self, step: _Step) -> None:
        self.steps += 1
        self.seconds += step.seconds
        self.fetching_s += step.fetching_s

    @property
    def step_ms(self) -> float:
        return 1000.0 * self.seconds / self.steps

    @property
    def data_ms(self) -> float:
        return 1000.0 * self.fetching_s / self.steps


@dataclass
class _Window:
    """The sums of this rank for one `metrics` event; `times` and `samples_here` are only of this attempt."""

    loss: float = 0.0
    correct: float = 0.0
    samples: float = 0.0
    samples_here: int = 0
    times: _Times = field(default_factory=_Times)

    def add(self, step: _Step, loss: float, correct: float) -> None:
        samples = len(step.labels)
        self.loss += loss * samples
        self.correct += correct
        self.samples += samples
        self.samples_here += samples
        self.times.add(step)

    def sums(self) -> list[float]:
        """The sums that a checkpoint keeps."""
        return [self.loss, self.correct, self.samples]


class Recorder:
    """Turns steps and evaluations into events and the summary.

    One `metrics` event covers `log_every` steps, however long they take; a run with fewer has one for all steps.
    `drain` raises NonFiniteLoss if a step since the last call had a loss or gradients that were not finite; it is
    called before every checkpoint, so that the newest one is good.

    All ranks drain at the same step: their sums are added, rank 0 writes metrics and evaluations, and a non-finite
    loss on one of them ends all. Each rank writes its own `system` events.
    """

    def __init__(
        self,
        journal: Journal,
        gauge: MemoryGauge,
        board: TensorBoardLog | None,
        log_every: int,
        ranks: Ranks,
        probes: Probes,
        *,
        compiles: bool = False,
        early_stop: EarlyStop | None = None,
    ) -> None:
        """`compiles`: the first step compiles the neurons, which takes seconds. Checkpoints keep the `early_stop`."""
        self.journal = journal
        self.gauge = gauge
        self.board = board
        self.log_every = log_every
        self.ranks = ranks
        self.probes = probes
        self.reached = Progress()
        self._steps: list[_Step] = []  # since the last drain
        self._window = _Window()
        self._since_system = _Times()
        self._first_bad_step = 0
        self._compiles = compiles
        self.early_stop = early_stop or EarlyStop()
        self._begun = self._fetching = self._fetched = self._drained = time.perf_counter()

    def begin(self) -> None:
        """Start the clock of the steps; the time before (an evaluation, a checkpoint) does not count."""
        self._begun = self._fetching = time.perf_counter()
        self.journal.summary.phase = Phase.FIRST_BATCH

    def fetched(self) -> None:
        """Note that the batch of the next step has arrived."""
        self._fetched = time.perf_counter()
        if self._compiles:
            self._compiles = False
            self.journal.update(phase=Phase.COMPILING)
        else:
            self.journal.summary.phase = Phase.TRAINING

    def step(self, progress: Progress, out: StepOutput, labels: Tensor, lr: float) -> None:
        """Record an optimizer step with labels and outputs of this rank; does not wait for the device.

        Of probabilities of classes, [B, C], the largest counts as the right class.
        """
        now = time.perf_counter()
        self.reached = progress
        labels = labels if labels.ndim == 1 else labels.argmax(1)
        times = now - self._begun, self._fetched - self._fetching
        self._steps.append(_Step(progress, lr, out, labels, *times))
        self.journal.summary.trained_s += now - self._begun
        self.journal.progress()
        self.journal.summary.step = progress.step
        self._begun = self._fetching = now

    def measured(self) -> None:
        """Start the clock of the next step: the time since the last was a probe's. The run is not stalled."""
        self.journal.progress()
        self._begun = self._fetching = time.perf_counter()

    def due(self) -> bool:
        """Whether half a second has passed since the last drain, or since this last returned true."""
        now = time.perf_counter()
        if now - self._drained < DRAIN_EVERY_S:
            return False
        self._drained = now
        return True

    def drain(self) -> None:
        """Fetch pending results in one transfer, write them, and check that every loss was finite.

        The wait for a device that is still computing counts as time of the fetched steps. The next step begins after
        this wait, and the fetch of its data after `drain`.
        """
        self._drained = time.perf_counter()
        steps, self._steps = self._steps, []
        full = self._full_windows(steps)
        own = [number for _, window in full for number in (*window.sums(), window.samples_here)]
        by_rank = self.ranks.gather([*own, self._first_bad_step])
        for (last, window), sums in zip(full, by_rank[:, :-1].sum(0).view(-1, 4).tolist(), strict=True):
            self._write_metrics(last, window.times, *sums)
        for step, sample in self.probes.take():
            self.journal.write(sample, step)
        self._write_system()
        self.journal.update()
        self._fetching = time.perf_counter()
        if bad_steps := [int(step) for step in by_rank[:, -1] if step]:
            raise NonFiniteLoss(f"the loss or its gradient is not finite at step {min(bad_steps)}")

    def end_epoch(self) -> None:
        """Drain after the last step of an epoch: an evaluation follows."""
        self.journal.summary.phase = Phase.EVALUATING
        self.drain()

    def _full_windows(self, steps: list[_Step]) -> list[tuple[_Step, _Window]]:
        """Fetch the results of the steps; returns the windows that are now full, each with its last step."""
        if not steps:
            return []
        losses = [step.out.loss for step in steps]
        correct = [(step.out.logits.argmax(1) == step.labels).sum(dtype=losses[0].dtype) for step in steps]
        full = []
        window_steps = min(self.log_every, self.journal.summary.steps or self.log_every)
        started = time.perf_counter()
        fetched = torch.stack([*losses, *correct]).view(2, -1).tolist()
        self._book(time.perf_counter() - started, steps)
        for step, loss, right in zip(steps, *fetched, strict=True):
            if not math.isfinite(loss) and not self._first_bad_step:
                self._first_bad_step = step.progress.step
            self._window.add(step, loss, right)
            self._since_system.add(step)
            if step.progress.step % window_steps == 0:
                full.append((step, self._window))
                self._window = _Window()
        return full

    def _book(self, waited: float, steps: list[_Step]) -> None:
        """Add the wait for the device to the time of the steps that it was computing, in equal parts."""
        for step in steps:
            step.seconds += waited / len(steps)
        self.journal.summary.trained_s += waited
        self._begun += waited

    def _write_metrics(
        self, last: _Step, times: _Times, losses: float, correct: float, samples: float, samples_here: float
    ) -> None:
        """Write the metrics of a window: the times of this rank, the sums of all ranks."""
        loss, top1 = losses / samples, correct / samples
        metrics = Metrics(
            epoch=last.progress.epoch,
            loss=loss,
            top1=top1,
            lr=last.lr,
            samples_per_s=samples_here / times.seconds,
            step_ms=times.step_ms,
            data_ms=times.data_ms,
            trained_s=self.journal.summary.trained_s,
        )
        self.journal.write_first(metrics, last.progress.step)
        if self.board is not None and self.ranks.rank == 0:
            self.board.scalars(last.progress.step, {"train/loss": loss, "train/top1": top1, "train/lr": last.lr})

    def _write_system(self) -> None:
        memory = self.gauge.read()
        if memory is None:
            return
        times, self._since_system = self._since_system, _Times()
        if times.steps:
            memory = replace(memory, step_ms=times.step_ms, data_ms=times.data_ms)
        self.journal.write(memory)

    def validation(self, progress: Progress, result: dict[str, Any], averaged: dict[str, Any] | None = None) -> bool:
        """Write the evaluation after an epoch, the same on all ranks; returns whether it is the best so far.

        `averaged` is that of the moving average of the weights, which decides nothing.
        """
        if not math.isfinite(result["loss"]):
            raise NonFiniteLoss(f"the validation loss is not finite after step {progress.step}")
        before = self.journal.summary.best
        ema = averaged["top1"] if averaged else None
        self._write_evaluation(progress.epoch, progress.step, result, "last", ema)
        self.journal.update(phase=Phase.TRAINING)
        return self.journal.summary.best is not before

    def test(self, results: dict[str, dict[str, Any]]) -> None:
        """Write the evaluations on the test set after all epochs, by weights: "last", "ema" and "best"."""
        for weights, result in results.items():
            self._write_evaluation(self.journal.summary.epoch, None, result, weights)
        self.journal.update()

    def _write_evaluation(
        self, epoch: int, step: int | None, result: dict[str, Any], weights: str, ema: float | None = None
    ) -> None:
        """Write an evaluation as an event, and to TensorBoard if a step is given."""
        self.journal.write_first(Validation(epoch=epoch, weights=one_line(weights), ema_top1=ema, **result))
        if self.ranks.rank != 0:
            return
        self.journal.say(
            f"epoch {epoch}: {result['split']} loss {result['loss']:.4f} top-1 {100 * result['top1']:.2f} %"
            + ("" if weights == "last" else f" ({weights} weights)")
            + ("" if ema is None else f", {100 * ema:.2f} % (ema)")
        )
        if self.board is not None and step is not None:
            scalars = {"validation/loss": result["loss"], "validation/top1": result["top1"]}
            self.board.scalars(step, scalars if ema is None else scalars | {"validation/ema_top1": ema})

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint, with which the events after a resume are those of an uninterrupted run.

        All ranks must call this together, after a drain.
        """
        assert not self._steps
        summary = self.journal.summary
        return {
            "sums": self.ranks.gather(self._window.sums()).sum(0),
            "last": summary.last.known,
            "best": summary.best.known,
            "train": summary.train.known,
            "timesteps_needed": summary.timesteps_needed,
            "trained_s": summary.trained_s,
            "early_stop": self.early_stop.state(),
        }

    def forget_open_window(self) -> None:
        """Drop the sums of the steps that are not in a `metrics` event yet."""
        self._steps, self._window = [], _Window()

    def restore(self, state: dict[str, Any]) -> ReachedSoFar:
        """Continue from what `state` returned; gives what was reached there, for the start of the attempt to record."""
        if self.ranks.rank == 0:  # the sums are over all ranks
            self._window = _Window(*state["sums"].tolist())
        self.early_stop.restore(state["early_stop"])
        last, best, train = (Scores(**state[name]) for name in ("last", "best", "train"))
        return ReachedSoFar(last, best, train, state["timesteps_needed"], state["trained_s"])
