"""What training has to say: sums stay on the device and are fetched twice a second, in one transfer."""

import math
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rbp_engine.methods import StepOutput
from rbp_engine.run.events import Metrics, Validation
from rbp_engine.train.checkpoint import Progress
from rbp_engine.train.distributed import Ranks
from rbp_engine.train.journal import Journal
from rbp_engine.train.memory import MemoryGauge
from rbp_engine.train.tensorboard import Board

DRAIN_EVERY_S = 0.5


class NonFiniteLoss(Exception):
    """The loss, a gradient or a weight has become NaN or infinite; the message names the step."""


class Recorder:
    """Turns steps and evaluations into events and the summary.

    One `metrics` event covers `log_every` steps, whatever the clock. `drain` raises NonFiniteLoss when a step since
    the last call had a loss, or by it gradients, that are not finite; it is called before every checkpoint, so that the
    newest one is good.

    Of several ranks, all drain at the same step: their sums are added up, rank 0 writes metrics and evaluations, and a
    loss that is not finite on one of them ends all. Each writes `system` events of its own.
    """

    def __init__(
        self,
        journal: Journal,
        gauge: MemoryGauge,
        board: Board,
        log_every: int,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        self.journal = journal
        self.gauge = gauge
        self.board = board
        self.log_every = log_every
        self.ranks = ranks
        self.reached = Progress()
        # Loss summed over samples, correct predictions, samples: of the window that is open.
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)
        self._first_bad_step = torch.zeros((), dtype=torch.float64, device=device)
        self._pending: list[tuple[Progress, float, dict[str, float], Tensor]] = []
        self._window = {"steps": 0.0, "samples": 0.0, "step_s": 0.0, "data_s": 0.0}
        self._since_system = dict.fromkeys(("steps", "step_s", "data_s"), 0.0)
        self._mark = self._drained = time.perf_counter()
        self._fetched = self._mark

    def begin(self) -> None:
        """Start the clock of the steps; what came before (evaluation, a checkpoint) is no part of them."""
        self._mark = time.perf_counter()

    def fetched(self) -> None:
        """The batch of the next step has arrived."""
        self._fetched = time.perf_counter()

    def step(self, progress: Progress, out: StepOutput, labels: Tensor, lr: float) -> None:
        """Count a finished optimizer step, with the outputs and labels of this rank; does not wait for the device."""
        now = time.perf_counter()
        self.reached = progress
        samples = len(labels)
        loss, correct, seen = self._sums
        loss.add_(out.loss, alpha=samples)
        correct.add_((out.logits.argmax(1) == labels).sum())
        seen.add_(samples)
        bad = (self._first_bad_step == 0) & ~torch.isfinite(out.loss)
        self._first_bad_step.masked_fill_(bad, float(progress.step))
        self._window["samples"] += samples
        for window in (self._window, self._since_system):
            window["steps"] += 1
            window["step_s"] += now - self._mark
            window["data_s"] += self._fetched - self._mark
        self.journal.summary.trained_s += now - self._mark
        self.journal.progress()
        self.journal.summary.step = progress.step
        self._mark = now
        if progress.step % self.log_every == 0:
            self._pending.append((progress, lr, self._window, self._sums.clone()))
            self._sums.zero_()
            self._window = dict.fromkeys(self._window, 0.0)

    def due(self) -> bool:
        """Whether half a second has passed since the last drain, or since this was last so."""
        now = time.perf_counter()
        if now - self._drained < DRAIN_EVERY_S:
            return False
        self._drained = now
        return True

    def alive(self) -> None:
        """Something other than a step has been done, a batch of an evaluation: the run is not stalled."""
        self.journal.progress()

    def drain(self) -> None:
        """Fetch what is pending in one transfer, write it down, and check that every loss was finite."""
        self._drained = time.perf_counter()
        pending, self._pending = self._pending, []
        fetched = torch.cat([*(sums for *_, sums in pending), self._first_bad_step.view(1)]).tolist()
        samples_here = [window["samples"] for _, _, window, _ in pending]
        by_rank = self.ranks.gather([*fetched, *samples_here])
        totals = by_rank.sum(0).tolist()
        for number, (progress, lr, window, _) in enumerate(pending):
            sums, samples = totals[3 * number : 3 * number + 3], totals[len(fetched) + number]
            self._write_metrics(progress, lr, window, sums, samples)
        self._write_system()
        self.journal.update()
        bad_steps = by_rank[:, len(fetched) - 1]
        if bool(bad_steps.any()):
            raise NonFiniteLoss(f"the loss or its gradient is not finite at step {int(bad_steps[bad_steps > 0].min())}")

    def _write_metrics(
        self, progress: Progress, lr: float, window: dict[str, float], sums: list[float], samples: float
    ) -> None:
        """Of a window of steps: `sums` and the `samples` seen in this attempt are those of all ranks."""
        loss, top1 = sums[0] / sums[2], sums[1] / sums[2]
        metrics = Metrics(
            epoch=progress.epoch,
            loss=loss,
            top1=top1,
            lr=lr,
            samples_per_s=samples / window["step_s"],
            step_ms=1000.0 * window["step_s"] / window["steps"],
            data_ms=1000.0 * window["data_s"] / window["steps"],
        )
        summary = self.journal.summary
        summary.samples_per_s, summary.step_ms = metrics.samples_per_s, metrics.step_ms
        summary.train = {"top1": top1, "loss": loss}
        if self.ranks.rank == 0:
            self.journal.write(metrics, progress.step)
            self.board.scalars(progress.step, {"train/loss": loss, "train/top1": top1, "train/lr": lr})

    def _write_system(self) -> None:
        memory = self.gauge.read()
        if memory is None:
            return
        self.journal.summary.mem_peak = memory.mem_peak
        since = self._since_system
        if since["steps"]:
            ms = 1000.0 / since["steps"]
            memory = replace(memory, step_ms=ms * since["step_s"], data_ms=ms * since["data_s"])
        self._since_system = dict.fromkeys(self._since_system, 0.0)
        self.journal.write(memory)

    def validation(self, progress: Progress, result: dict[str, Any]) -> bool:
        """Write an evaluation after an epoch, which is the same on all ranks; whether it is the best so far."""
        if not math.isfinite(result["loss"]):
            raise NonFiniteLoss(f"the validation loss is not finite after step {progress.step}")
        summary = self.journal.summary
        self._write_evaluation(progress.epoch, progress.step, result, "last")
        best = summary.best.get("top1")
        improved = best is None or result["top1"] > best
        summary.last = {name: result[name] for name in ("top1", "top5", "loss")}
        if improved:
            summary.best = {"top1": result["top1"], "epoch": progress.epoch}
        self.journal.update(epoch=progress.epoch)
        return improved

    def test(self, results: dict[str, dict[str, Any]]) -> None:
        """Write the evaluation on the test set after all epochs, by weights: "last" and "best"."""
        for weights, result in results.items():
            self._write_evaluation(self.journal.summary.epoch, None, result, weights)
        self.journal.update(test={weights: result["top1"] for weights, result in results.items()})

    def _write_evaluation(self, epoch: int, step: int | None, result: dict[str, Any], weights: str) -> None:
        """Also for TensorBoard, where a step is given."""
        if self.ranks.rank != 0:
            return
        fields = {name: result[name] for name in ("loss", "top1", "top5", "samples", "split")}
        self.journal.write(Validation(epoch=epoch, weights=weights, **fields))
        self.journal.say(
            f"epoch {epoch}: {result['split']} loss {result['loss']:.4f} top-1 {result['top1']:.4f} ({weights})"
        )
        if step is not None:
            self.board.scalars(step, {"validation/loss": result["loss"], "validation/top1": result["top1"]})

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that the events after a resume are those of an uninterrupted run.

        All ranks are asked together.
        """
        summary = self.journal.summary
        return {
            "sums": self.ranks.gather(self._sums.tolist()).sum(0),
            "last": summary.last,
            "best": summary.best,
            "train": summary.train,
            "trained_s": summary.trained_s,
        }

    def forget_open_window(self) -> None:
        """Drop the sums of the steps that no `metrics` event has told of yet."""
        self._sums.zero_()

    def reset(self) -> None:
        """Start from nothing, also where an earlier attempt got somewhere but saved nothing."""
        self.journal.update(step=0, epoch=0, last={}, best={}, train={}, trained_s=0.0)

    def restore(self, state: dict[str, Any], progress: Progress) -> None:
        """Go on from what `state` gave."""
        if self.ranks.rank == 0:  # they are those of all ranks
            self._sums.copy_(state["sums"])
        self.journal.update(
            step=progress.step,
            epoch=progress.epoch,
            last=state["last"],
            best=state["best"],
            train=state["train"],
            trained_s=state["trained_s"],
        )
