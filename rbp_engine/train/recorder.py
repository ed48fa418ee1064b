"""What training has to say: sums stay on the device and are fetched twice a second, in one transfer."""

import math
import time
from typing import Any

import torch
from torch import Tensor

from rbp_engine.methods import StepOutput
from rbp_engine.run.events import Metrics, Validation
from rbp_engine.train.checkpoint import Progress
from rbp_engine.train.journal import Journal
from rbp_engine.train.memory import MemoryGauge
from rbp_engine.train.tensorboard import TensorBoardLog

DRAIN_EVERY_S = 0.5


class NonFiniteLoss(Exception):
    """The loss or a weight has become NaN or infinite; the message names the step."""


class Recorder:
    """Turns steps and evaluations into events and the summary.

    One `metrics` event covers `log_every` steps, whatever the clock. `drain` raises NonFiniteLoss when a step since
    the last call had a loss that is not finite; it is called before every checkpoint, so that the newest one is good.
    """

    def __init__(
        self, journal: Journal, gauge: MemoryGauge, board: TensorBoardLog, log_every: int, device: torch.device
    ) -> None:
        self.journal = journal
        self.gauge = gauge
        self.board = board
        self.log_every = log_every
        # Loss summed over samples, correct predictions, samples: of the window that is open.
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)
        self._first_bad_step = torch.zeros((), dtype=torch.float64, device=device)
        self._pending: list[tuple[Progress, float, dict[str, float], Tensor]] = []
        self._window = {"steps": 0.0, "samples": 0.0, "step_s": 0.0, "data_s": 0.0}
        self._mark = self._drained = time.perf_counter()
        self._fetched = self._mark

    def begin(self) -> None:
        """Start the clock of the steps; what came before (evaluation, a checkpoint) is no part of them."""
        self._mark = time.perf_counter()

    def fetched(self) -> None:
        """The batch of the next step has arrived."""
        self._fetched = time.perf_counter()

    def step(self, progress: Progress, out: StepOutput, labels: Tensor, lr: float) -> None:
        """Count a finished optimizer step; waits for the device only when a drain is due."""
        now = time.perf_counter()
        samples = len(labels)
        correct = (out.logits.argmax(1) == labels).sum()
        self._sums += torch.stack([out.loss.double() * samples, correct.double(), correct.new_tensor(samples).double()])
        bad = (self._first_bad_step == 0) & ~torch.isfinite(out.loss)
        self._first_bad_step.masked_fill_(bad, float(progress.step))
        for name, value in (("steps", 1), ("samples", samples), ("step_s", now - self._mark)):
            self._window[name] += value
        self._window["data_s"] += self._fetched - self._mark
        self.journal.summary.trained_s += now - self._mark
        self.journal.summary.progressed = time.time()
        self.journal.summary.step = progress.step
        self._mark = now
        if progress.step % self.log_every == 0:
            self._pending.append((progress, lr, self._window, self._sums.clone()))
            self._sums.zero_()
            self._window = dict.fromkeys(self._window, 0.0)
        if now - self._drained >= DRAIN_EVERY_S:
            self.drain()

    def alive(self) -> None:
        """Something other than a step has been done, a batch of an evaluation: the run is not stalled."""
        self.journal.summary.progressed = time.time()

    def drain(self) -> None:
        """Fetch what is pending in one transfer, write it down, and check that every loss was finite."""
        self._drained = time.perf_counter()
        pending, self._pending = self._pending, []
        fetched = torch.cat([*(sums for *_, sums in pending), self._first_bad_step.view(1)]).tolist()
        for number, (progress, lr, window, _) in enumerate(pending):
            loss, correct, samples = fetched[3 * number : 3 * number + 3]
            metrics = Metrics(
                epoch=progress.epoch,
                loss=loss / samples,
                top1=correct / samples,
                lr=lr,
                samples_per_s=window["samples"] / window["step_s"],
                step_ms=1000.0 * window["step_s"] / window["steps"],
                data_ms=1000.0 * window["data_s"] / window["steps"],
            )
            self.journal.write(metrics, progress.step)
            self.board.scalars(
                progress.step, {"train/loss": loss / samples, "train/top1": correct / samples, "train/lr": lr}
            )
            self.journal.summary.samples_per_s = metrics.samples_per_s
            self.journal.summary.step_ms = metrics.step_ms
            self.journal.summary.train = {"top1": metrics.top1, "loss": metrics.loss}
        memory = self.gauge.read()
        if memory is not None:
            self.journal.write(memory)
            self.journal.summary.mem_peak = memory.mem_peak
        self.journal.update()
        if bad_step := int(fetched[-1]):
            raise NonFiniteLoss(f"the loss is not finite at step {bad_step}")

    def validation(self, progress: Progress, result: dict[str, Any]) -> bool:
        """Write an evaluation after an epoch; whether it is the best so far."""
        if not math.isfinite(result["loss"]):
            raise NonFiniteLoss(f"the validation loss is not finite after step {progress.step}")
        summary = self.journal.summary
        self._write_evaluation(progress.epoch, result, "last")
        self.board.scalars(progress.step, {"validation/loss": result["loss"], "validation/top1": result["top1"]})
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
            self._write_evaluation(self.journal.summary.epoch, result, weights)
        self.journal.update(test={weights: result["top1"] for weights, result in results.items()})

    def _write_evaluation(self, epoch: int, result: dict[str, Any], weights: str) -> None:
        fields = {name: result[name] for name in ("loss", "top1", "top5", "samples", "split")}
        self.journal.write(Validation(epoch=epoch, weights=weights, **fields))
        self.journal.say(
            f"epoch {epoch}: {result['split']} loss {result['loss']:.4f} top-1 {result['top1']:.4f} ({weights})"
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that the events after a resume are those of an uninterrupted run."""
        summary = self.journal.summary
        return {
            "sums": self._sums.cpu(),
            "last": summary.last,
            "best": summary.best,
            "train": summary.train,
            "trained_s": summary.trained_s,
        }

    def reset(self) -> None:
        """Start from nothing, also where an earlier attempt got somewhere but saved nothing."""
        self.journal.update(step=0, epoch=0, last={}, best={}, train={}, trained_s=0.0)

    def restore(self, state: dict[str, Any], progress: Progress) -> None:
        """Go on from what `state` gave."""
        self._sums.copy_(state["sums"])
        self.journal.update(
            step=progress.step,
            epoch=progress.epoch,
            last=state["last"],
            best=state["best"],
            train=state["train"],
            trained_s=state["trained_s"],
        )
