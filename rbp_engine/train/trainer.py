"""The training loop."""

from collections.abc import Callable
from typing import Any

import torch

from rbp_engine.data.loading.source import EvaluationBatches, TrainingBatches
from rbp_engine.train.checkpoints.checkpoint import Checkpoint, Progress, load_weights
from rbp_engine.train.checkpoints.checkpointer import Checkpointer
from rbp_engine.train.limits import Limits
from rbp_engine.train.optimisation import set_learning_rate
from rbp_engine.train.ranks.signals import ENDS, StopFlag
from rbp_engine.train.record.recorder import Recorder
from rbp_engine.train.score_sums import ScoreSums
from rbp_engine.train.step import OptimizerStep


def train(
    step: OptimizerStep,
    batches: TrainingBatches,
    validation: EvaluationBatches,
    learning_rate: Callable[[Progress], float],
    recorder: Recorder,
    checkpointer: Checkpointer,
    stop: StopFlag,
    *,
    epochs: int,
    at: Progress,
    limits: Limits | None = None,
) -> str:
    """Train from `at` to the end: step, record, validate, save, stop. Returns "completed" or one of `ENDS`.

    `limits` may end it before the last epoch. The average of the weights is evaluated after them; which epoch is the
    best is decided by the weights. All ranks end, save and record at the same step and with the same status. Raises
    NonFiniteLoss, after saving a checkpoint of the last finite step if the gradients show which one that was.
    """
    ranks, state, limits = step.ranks, step.state, limits or Limits()
    with checkpointer.last_finite_saved(step.guard):
        if at.step:  # a resume, maybe of a run whose budget is used up
            [end] = ranks.largest(max(limits.clock(), limits.steps(at)))
            if end and at.epoch < epochs and not limits.has_enough(at):
                return ENDS[end]
        while at.epoch < epochs and not limits.has_enough(at):
            state.model.train()
            recorder.begin()
            for images, labels in batches.epoch(at.epoch, at.position):
                recorder.fetched()
                lr = learning_rate(at)
                set_learning_rate(state.optimizer, lr)
                with recorder.probes.watch(at.step + 1):
                    out = step(images, labels, batches.size(at.position))
                at = Progress(at.step + 1, at.epoch, at.position + 1)
                if state.average is not None:
                    state.average.update(at.step, step.guard.skipping)
                recorder.step(at, out, labels, lr)
                if recorder.probes.measure(at.step):
                    recorder.measured()
                if at.position < len(batches):
                    level = max(stop.level, limits.clock())
                    end, save, drain = ranks.agree(level, checkpointer.due(at), recorder.due())
                    end = max(end, limits.steps(at))
                    if end or save:
                        checkpointer.save(at)
                    elif drain:
                        recorder.drain()
                    if end:
                        return ENDS[end]
            recorder.end_epoch()
            result = evaluate(step, validation, stop, recorder)
            averaged = evaluate_average(step, validation, stop, recorder) if result else None
            if result is None or (state.average is not None and averaged is None):
                checkpointer.save(at)
                [end] = ranks.largest(stop.level)
                return ENDS[end]
            at = Progress(at.step, at.epoch + 1)
            improved = recorder.validation(at, result, averaged)
            limits.early_stop.add(at.epoch, result["top1"])
            end, save = ranks.largest(max(stop.level, limits.clock(), limits.steps(at)), checkpointer.due(at))
            done = at.epoch == epochs or limits.has_enough(at)
            if improved or save or end or done:
                checkpointer.save(at, best=improved)
            if end and not done:
                return ENDS[end]
    return "completed"


def report_test(step: OptimizerStep, test: EvaluationBatches, recorder: Recorder, best: Checkpoint | None) -> None:
    """After training with a held-out split, evaluate the test set once with each of the last weights, their average
    if there is one, and the best weights."""
    results = {
        "last": evaluate(step, test, None, recorder),
        "ema": evaluate_average(step, test, None, recorder),
    }
    if best is not None:
        load_weights(best, step.state.model)
        results["best"] = evaluate(step, test, None, recorder)
    recorder.test({weights: result for weights, result in results.items() if result is not None})


def evaluate_average(
    step: OptimizerStep, batches: EvaluationBatches, stop: StopFlag | None, recorder: Recorder
) -> dict[str, Any] | None:
    """`evaluate` with the moving average in the place of the weights; None without one."""
    if step.state.average is None:
        return None
    with step.state.average.applied():
        return evaluate(step, batches, stop, recorder)


@torch.no_grad()
def evaluate(
    step: OptimizerStep, batches: EvaluationBatches, stop: StopFlag | None, recorder: Recorder
) -> dict[str, Any] | None:
    """Loss, top-1 and top-5 over all batches, from the logits' time mean, and top-1 after each timestep.

    None if asked to stop meanwhile.

    Each rank evaluates its share, with the running statistics of rank 0; all return the same.
    """
    model, method = step.state.model, step.state.method
    recorder.ranks.share_buffers(model)
    scores, left = ScoreSums(method.timesteps), False
    for images, labels in batches:
        if stop is not None and stop.level:
            left = True
            break
        scores.add(method.predict(model, images, time=step.time), labels)
        recorder.journal.progress()
    own = [*scores.sums(), scores.samples, left]
    loss_sum, top1, top5, *by_step, count, ranks_left = recorder.ranks.gather(own).sum(0).tolist()
    if ranks_left:
        return None
    if not count:
        raise ValueError("there are no images to evaluate on")
    return {
        "loss": loss_sum / count,
        "top1": top1 / count,
        "top5": top5 / count,
        "top1_by_step": [right / count for right in by_step],
        "samples": int(count),
        "split": batches.split,
    }
