"""The trained network of a run, and passes over its test set, which find the accuracy at every t ≤ T.

T may differ from the one in training. The inputs of every layer may be in a random order of time (the paper's Table 2),
which a rate code survives.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rbp_engine.child import Progress
from rbp_engine.data.feed import Feed
from rbp_engine.data.loading.source import EvaluationBatches
from rbp_engine.evaluation.evaluation_request import EvaluationRequest
from rbp_engine.loaded import Weights, load
from rbp_engine.methods.inputs import is_static
from rbp_engine.methods.protocol import predict
from rbp_engine.printable import one_line
from rbp_engine.probes.layers import hooked, neuron_layers
from rbp_engine.run.files.evaluation_json import EvaluatedWeights
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.spiking import SequenceTensor
from rbp_engine.spiking.current import Current
from rbp_engine.train.build import build_feed
from rbp_engine.train.score_sums import ScoreSums

# The seed of everything that is drawn.
SEED = 0


class Trained:
    """The network of a run, with the weights that were asked for.

    `expected` is the sum of T over all planned passes, for the progress. Raises as `load` does.
    """

    def __init__(self, run: RunDirectory, request: EvaluationRequest, progress: Progress) -> None:
        progress("loading the network", 0.0)
        self.run = run
        self.called = f"averaged {request.weights}" if request.ema else request.weights
        self.loaded = load(run.path, weights=cast(Weights, request.weights), device=request.device, ema=request.ema)
        self.timesteps, self.precision = self.loaded.preset.method.timesteps, self.loaded.preset.train.precision
        self.expected = self.timesteps
        self._progress, self._done = progress, 0

    def feed(self, timesteps: int) -> Feed:
        """The data of the run, for another T if that differs."""
        return build_feed(self.run, self.loaded.preset, self.loaded.device, timesteps)

    @torch.no_grad()
    def evaluate(
        self,
        source: EvaluationBatches,
        timesteps: int,
        doing: str = "accuracy",
        *,
        shuffle: bool = False,
        change: Callable[[Tensor], Tensor] = lambda images: images,
        watch: Callable[[Tensor, Tensor, Tensor], object] = lambda *batch: None,
    ) -> dict[str, Any]:
        """Loss (of the logits' time mean), top-1 and top-5 over all samples, and the weights and data that they are of.

        `top1_by_step` is the accuracy of the mean over the first t steps, t = 1 … T. `change` disturbs images, and with
        `shuffle` every layer receives the timesteps in an order drawn anew. `watch` gets each batch's images and
        labels, and the logits by timestep [T, B, C]. Raises ValueError without any samples.
        """
        scores, shuffled = ScoreSums(timesteps), Shuffled()
        layers = neuron_layers(self.loaded.model).values() if shuffle else ()
        with hooked(layer.register_forward_hook(shuffled.spikes) for layer in layers):
            for number, (images, labels) in enumerate(source):
                done = self._done + timesteps * number / len(source)
                self._progress(f"{doing} at T = {timesteps}", min(1.0, done / self.expected))
                shown = change(images)
                if shuffle and not is_static(shown):
                    shown = shuffled.steps(shown)
                logits = predict(self.loaded.model, shown, timesteps, self.precision)
                scores.add(logits, labels)
                watch(images, labels, logits)
        self._done += timesteps
        if not scores.samples:
            raise ValueError("there are no images to evaluate on")
        loss, top1, top5, *by_step = (total / scores.samples for total in scores.sums())
        return {
            "run": self.run.id,
            "weights": self.called,
            "checkpoint": self.loaded.file.parent.name,
            "split": source.split,
            "timesteps": timesteps,
            "shuffled": shuffle,
            "top1": top1,
            "top5": top5,
            "loss": loss,
            "samples": scores.samples,
            "top1_by_step": by_step,
        }


class Shuffled:
    """Orders of time, each drawn anew from SEED on, and the same for all samples of a batch."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(SEED)

    def steps(self, values: Tensor) -> Tensor:
        """Values [T, B, …] in another order of time."""
        return values[torch.randperm(len(values), generator=self._generator).to(values.device)]

    def spikes(self, module: nn.Module, args: object, output: SequenceTensor) -> SequenceTensor:
        """A hook after neurons."""
        return SequenceTensor(Current.of(self.steps(output.values())))


@dataclass(frozen=True, eq=False)
class PlainPass:
    """An undisturbed pass over the test set: its `scores`, what they are `of`, and all predictions, in the set's order.

    `labels` and `predicted` are [N], `logits` [N, C], the mean over the timesteps. `input_deviation` is the standard
    deviation of the network's inputs: 1 for images, which are normalised.
    """

    feed: Feed
    of: EvaluatedWeights
    scores: dict[str, Any]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    logits: NDArray[np.float32]
    input_deviation: float


def plain_pass(trained: Trained, timesteps: int) -> PlainPass:
    """Evaluate on the test set at T = `timesteps`."""
    feed = trained.feed(timesteps)
    batches: list[tuple[Tensor, Tensor, Tensor]] = []
    sums: list[Tensor] = []

    def watch(images: Tensor, labels: Tensor, logits_by_step: Tensor) -> None:
        logits = logits_by_step.mean(0)
        batches.append((labels.cpu(), logits.argmax(1).cpu(), logits.float().cpu()))
        if feed.has_time:
            sums.append(moments(images))

    scores = trained.evaluate(feed.test, timesteps, watch=watch)
    weights, checkpoint, split = (one_line(scores[name]) for name in ("weights", "checkpoint", "split"))
    now = round(time.time(), 3)
    of = EvaluatedWeights(weights, checkpoint, split, scores["samples"], timesteps, scores["top1"], now)
    labels, predicted, logits = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
    return PlainPass(feed, of, scores, labels, predicted, logits, deviation(sums) if sums else 1.0)


def moments(values: Tensor) -> Tensor:
    """The sums of values and of their squares, and their number, [3] in float64; they stay on the device."""
    values = values.double()
    return torch.stack([values.sum(), values.square().sum(), values.new_tensor(values.numel())])


def deviation(sums: Sequence[Tensor]) -> float:
    """The standard deviation of all values, from the moments of the batches."""
    first, second, count = sum(sums, torch.zeros_like(sums[0])).tolist()
    return math.sqrt(max(0.0, second / count - (first / count) ** 2))
