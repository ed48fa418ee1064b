"""One undisturbed pass over the test set, with all that robustness, classes and mistakes are derived from."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rbp_engine.data.preprocess import Frames
from rbp_engine.data.protocol import Feed
from rbp_engine.evaluation.accuracy import described, evaluate_by_step
from rbp_engine.evaluation.predictions import PredictionBuilder, Predictions
from rbp_engine.evaluation.trained import Trained
from rbp_engine.evaluation.work import Work
from rbp_engine.run.files.evaluation_json import EvaluatedWeights


@dataclass(frozen=True, eq=False)
class PlainPass:
    """The scores of `accuracy.evaluate` at T, the predictions in the order of the test set, and what they are `of`.

    `input_deviation` is the standard deviation of the network's inputs: 1 for images, which are normalised.
    """

    feed: Feed
    of: EvaluatedWeights
    scores: dict[str, Any]
    predictions: Predictions
    input_deviation: float


def plain_pass(trained: Trained, work: Work, timesteps: int) -> PlainPass:
    """Evaluate on the test set at T = `timesteps`."""
    feed = trained.feed(timesteps)
    builder, spread = PredictionBuilder(), InputSpread()
    events = isinstance(feed.preprocess, Frames)

    def seen(images: Tensor, labels: Tensor, logits: Tensor) -> None:
        builder.add(labels, logits)
        if events:
            spread.add(images)
        work.watch()

    work.begin(f"accuracy at T = {timesteps}", timesteps, len(feed.test))
    precision = trained.loaded.preset.train.precision
    scores = evaluate_by_step(trained.loaded.model, feed.test, timesteps, precision, watch=seen)
    of = trained.evaluated(feed.test.split, scores["samples"], timesteps, scores["top1"])
    whole = described(trained, feed.test.split) | {"timesteps": timesteps, "shuffled": False} | scores
    return PlainPass(feed, of, whole, builder.predictions(), spread.deviation() if events else 1.0)


class InputSpread:
    """The standard deviation of all values of the inputs, from sums that stay on the device."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None
        self._count = 0

    def add(self, images: Tensor) -> None:
        values = images.double()
        sums = torch.stack([values.sum(), values.square().sum()])
        self._sums = sums if self._sums is None else self._sums + sums
        self._count += images.numel()

    def deviation(self) -> float:
        """Over all that was added."""
        if self._sums is None:
            return 0.0
        first, second = (self._sums / self._count).tolist()
        return math.sqrt(max(0.0, second - first**2))
