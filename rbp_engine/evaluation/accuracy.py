"""Accuracy of a trained network at every t ≤ T, at another T than trained with, and shuffled in time.

The last has the inputs of every layer in a random order of time (the paper's Table 2), which a rate code survives.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rbp_engine.data.protocol import EvaluationSource
from rbp_engine.evaluation.trained import Trained
from rbp_engine.evaluation.work import Work
from rbp_engine.methods.protocol import Precision, predict
from rbp_engine.spiking.carriers.sequence import SequenceTensor, ShuffledTensor
from rbp_engine.train.score_sums import ScoreSums

Carrier = Callable[[Tensor, int, bool], SequenceTensor]
#: Called with a batch's images, labels, and logits by timestep [T, B, C].
Watch = Callable[[Tensor, Tensor, Tensor], None]


def evaluate(
    trained: Trained, work: Work, timesteps: Sequence[int] = (), *, shuffle_time: bool = False, seed: int = 0
) -> list[dict[str, Any]]:
    """Evaluate on the test set, once for each T of `timesteps` (the trained one if empty).

    Each result has top1, top5, loss (of the logits' time mean), samples, and `top1_by_step`: the accuracy of the mean
    over the first t steps, t = 1 … T.
    """
    results = []
    for steps in timesteps or [trained.timesteps]:
        test = trained.feed(steps).test
        work.begin(f"accuracy at T = {steps}", steps, len(test))
        carrier = shuffled(seed) if shuffle_time else SequenceTensor
        precision = trained.loaded.preset.train.precision
        result = evaluate_by_step(trained.loaded.model, test, steps, precision, carrier=carrier, watch=work.watch)
        results.append(described(trained, test.split) | {"timesteps": steps, "shuffled": shuffle_time} | result)
    return results


def described(trained: Trained, split: str) -> dict[str, Any]:
    """Which weights of which run a result is of, and which part of the data."""
    checkpoint = trained.loaded.file.parent.name
    return {"run": trained.run.id, "weights": trained.called, "checkpoint": checkpoint, "split": split}


@torch.no_grad()
def evaluate_by_step(
    model: nn.Module,
    batches: EvaluationSource,
    timesteps: int,
    precision: Precision = "fp32",
    *,
    carrier: Carrier = SequenceTensor,
    change: Callable[[Tensor], Tensor] | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Loss, top-1 and top-5 over all samples, and top-1 after each timestep.

    `carrier` makes the network's input of images, which `change` has disturbed before. Raises ValueError without any.
    """
    scores = ScoreSums(timesteps)
    for images, labels in batches:
        logits = predict(model, images if change is None else change(images), timesteps, precision, carrier)
        scores.add(logits, labels)
        if watch is not None:
            watch(images, labels, logits)
    if not scores.samples:
        raise ValueError("there are no images to evaluate on")
    loss, top1, top5, *by_step = (total / scores.samples for total in scores.sums())
    return {"top1": top1, "top5": top5, "loss": loss, "samples": scores.samples, "top1_by_step": by_step}


def shuffled(seed: int) -> Carrier:
    """Makes inputs of which every layer receives the timesteps in an order drawn anew."""
    generator = torch.Generator().manual_seed(seed)

    def make(values: Tensor, timesteps: int, static: bool) -> ShuffledTensor:
        return ShuffledTensor(values, timesteps, static, generator).shuffled()

    return make
