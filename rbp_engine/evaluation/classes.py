"""How a trained network classifies: counts by class, confusions, its worst mistakes, and all predictions."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rbp_engine.data.loading.source import EvaluationBatches
from rbp_engine.data.preprocess import Pixels, Preprocess
from rbp_engine.evaluation.trained import PlainPass
from rbp_engine.printable import LONGEST_NAME, one_line
from rbp_engine.report.mistakes_figure import DRAWN, draw_mistakes
from rbp_engine.run.errors import cannot
from rbp_engine.run.files.evaluation_json import ByClass, ClassCounts, Confusion, EvaluatedWeights, Mistake
from rbp_engine.run.files.layout import write_atomic

#: With 70 classes these are all pairs; with more, the most frequent.
CONFUSIONS_KEPT = 5000
WORST_KEPT = 40


def classes_of(plain: PlainPass) -> ByClass:
    """The counts, confusions and worst mistakes of a pass over the test set."""
    names = plain.feed.class_names if len(plain.feed.class_names) == plain.feed.classes else ()
    return by_class(plain.of, plain.labels, plain.predicted, plain.logits, names)


def by_class(
    of: EvaluatedWeights,
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    logits: NDArray[np.float32],
    names: Sequence[str] = (),
) -> ByClass:
    """The counts of labels [N], predicted classes [N] and logits [N, C].

    `names` are those of the classes, or empty for their numbers.
    """
    count = logits.shape[1]
    samples, taken = np.bincount(labels, minlength=count), np.bincount(predicted, minlength=count)
    right = np.bincount(labels[labels == predicted], minlength=count)
    classes = tuple(
        ClassCounts(
            one_line(str(names[label]) if names else str(label), LONGEST_NAME),
            samples=int(samples[label]),
            right=int(right[label]),
            predicted=int(taken[label]),
        )
        for label in range(count)
    )
    return ByClass(of, classes, _confusions(labels, predicted, count), _worst(labels, predicted, logits))


def _confusions(labels: NDArray[np.int64], predicted: NDArray[np.int64], count: int) -> tuple[Confusion, ...]:
    """The confused pairs, the most frequent first."""
    wrong = labels != predicted
    pairs, times = np.unique(labels[wrong] * count + predicted[wrong], return_counts=True)
    order = np.lexsort((pairs, -times))[:CONFUSIONS_KEPT]
    return tuple(Confusion(*divmod(int(pairs[place]), count), int(times[place])) for place in order)


def _worst(labels: NDArray[np.int64], predicted: NDArray[np.int64], logits: NDArray[np.float32]) -> tuple[Mistake, ...]:
    """The mistakes with the highest confidence, the worst first."""
    wrong = np.flatnonzero(predicted != labels)
    wide = logits[wrong].astype(np.float64)
    odds = np.exp(wide - wide.max(1, keepdims=True)) if len(wrong) else wide
    confidence = np.nan_to_num(odds.max(1) / odds.sum(1)) if len(wrong) else np.zeros(0)
    order = np.lexsort((wrong, -confidence))[:WORST_KEPT]
    return tuple(
        Mistake(int(index), int(labels[index]), int(predicted[index]), round(float(confidence[place]), 6))
        for place, index in ((place, wrong[place]) for place in order)
    )


def draw_worst(plain: PlainPass, classified: ByClass, path: Path) -> None:
    """Draw the confusion matrix and the worst mistakes of a pass. Raises RunError if that fails."""
    worst = [mistake.index for mistake in classified.worst[:DRAWN]]
    images = [picture(sample, plain.feed.preprocess) for sample in samples_at(plain.feed.test, worst)]
    draw_mistakes(classified, images, path)


def samples_at(batches: EvaluationBatches, wanted: Sequence[int]) -> list[Tensor]:
    """The samples with these numbers, in that order: images [C, H, W], or frames [T, C, H, W]."""
    picked: dict[int, Tensor] = {}
    first = 0
    for images, labels in batches:
        inside = {index for index in wanted if first <= index < first + len(labels)}
        picked |= {index: images.select(-4, index - first).cpu() for index in inside}
        first += len(labels)
    return [picked[index] for index in wanted]


def picture(sample: Tensor, preprocess: Preprocess) -> NDArray[Any]:
    """A sample as people see it, [H, W] or [H, W, 3] of values from 0 to 1.

    The normalisation of images is undone. Of frames the sum over timesteps is shown, of events over both polarities,
    relative to its largest value.
    """
    if isinstance(preprocess, Pixels):
        mean, deviation = (torch.tensor(values).view(-1, 1, 1) for values in (preprocess.mean, preprocess.deviation))
        seen = (sample.float() * deviation + mean).clamp(0.0, 1.0)
    else:
        total = sample.float().sum(0)
        seen = total if len(total) == 3 else total.sum(0, keepdim=True)
        seen = seen / max(1e-12, float(seen.max()))
    colours = seen if len(seen) == 3 else seen.mean(0, keepdim=True)
    return np.asarray(colours.permute(1, 2, 0).squeeze(2))  # a single channel is dropped, three stay


def write_predictions(path: Path, plain: PlainPass) -> None:
    """Write label, prediction and logits of each sample. Raises RunError if that fails.

    The file is NumPy's .npz, with `labels` [N], `predictions` [N] and `logits` [N, C].
    """
    packed = io.BytesIO()
    np.savez_compressed(packed, labels=plain.labels, predictions=plain.predicted, logits=plain.logits)
    with cannot(f"write {path}"):
        write_atomic(path, packed.getvalue())
