"""The training loop."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.data.protocol import EvaluationSource, TrainingSource
from rbp_engine.methods import Method
from rbp_engine.train.checkpoint import Checkpoint, Progress, load_weights
from rbp_engine.train.checkpointer import Checkpointer
from rbp_engine.train.optimisation import set_learning_rate
from rbp_engine.train.recorder import Recorder
from rbp_engine.train.signals import StopFlag


def train(
    model: nn.Module,
    method: Method,
    optimizer: torch.optim.Optimizer,
    batches: TrainingSource,
    validation: EvaluationSource,
    learning_rate: Callable[[int], float],
    recorder: Recorder,
    checkpointer: Checkpointer,
    stop: StopFlag,
    *,
    epochs: int,
    at: Progress,
) -> str:
    """Train from `at` to the end: step, record, validate, save, stop. Returns the status to end with."""
    while at.epoch < epochs:
        lr = learning_rate(at.epoch)
        set_learning_rate(optimizer, lr)
        model.train()
        recorder.begin()
        for images, labels in batches.epoch(at.epoch, at.position):
            recorder.fetched()
            optimizer.zero_grad(set_to_none=True)
            out = method.step(model, images, labels)
            optimizer.step()
            at = Progress(at.step + 1, at.epoch, at.position + 1)
            recorder.step(at, out, labels, lr)
            if at.position < len(batches):
                if checkpointer.due(at):
                    checkpointer.save(at)
                if stop.status:
                    checkpointer.save(at)
                    return stop.status
        recorder.drain()
        result = evaluate(model, method, validation, stop, recorder)
        if result is None:
            checkpointer.save(at)
            return stop.status or "stopped"
        at = Progress(at.step, at.epoch + 1)
        improved = recorder.validation(at, result)
        if improved or at.epoch == epochs or checkpointer.due(at):
            checkpointer.save(at, best=improved)
        if stop.status and at.epoch < epochs:
            checkpointer.save(at)
            return stop.status
    return "completed"


def report_test(
    model: nn.Module, method: Method, test: EvaluationSource, recorder: Recorder, best: Checkpoint | None
) -> None:
    """After training with a held-out split: the test set once, with the last weights and with the best."""
    last = evaluate(model, method, test, None, recorder)
    results = {"last": last}
    if best is not None:
        load_weights(best, model)
        results["best"] = evaluate(model, method, test, None, recorder)
    recorder.test({weights: result for weights, result in results.items() if result is not None})


@torch.no_grad()
def evaluate(
    model: nn.Module, method: Method, batches: EvaluationSource, stop: StopFlag | None, recorder: Recorder
) -> dict[str, Any] | None:
    """Loss, top-1 and top-5 over all of the batches, from the logits' time mean; None if asked to stop meanwhile."""
    sums: torch.Tensor | None = None
    samples = 0
    for images, labels in batches:
        if stop is not None and stop.status:
            return None
        logits = method.predict(model, images).mean(0)
        hits = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels.unsqueeze(1)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        batch = torch.stack([loss.double(), hits[:, 0].sum().double(), hits.sum().double()])
        sums = batch if sums is None else sums + batch
        samples += len(labels)
        recorder.alive()
    if sums is None:
        raise ValueError("there are no images to evaluate on")
    loss_sum, top1, top5 = sums.tolist()
    return {
        "loss": loss_sum / samples,
        "top1": top1 / samples,
        "top5": top5 / samples,
        "samples": samples,
        "split": batches.split,
    }
