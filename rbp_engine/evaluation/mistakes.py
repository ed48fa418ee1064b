"""What a trained network takes for what, by class, and its worst mistakes as images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rbp_engine.data.preprocess import Pixels, Preprocess
from rbp_engine.data.protocol import EvaluationSource
from rbp_engine.evaluation.classes import by_class
from rbp_engine.evaluation.plain import PlainPass
from rbp_engine.report.mistakes_figure import DRAWN, draw_mistakes
from rbp_engine.run.files.evaluation_json import ByClass


def classes_of(plain: PlainPass) -> ByClass:
    """What was taken for what in a pass over the test set."""
    names = plain.feed.class_names if len(plain.feed.class_names) == plain.feed.classes else ()
    found = plain.predictions
    return by_class(plain.of, found.labels, found.predicted, found.logits, names)


def draw_worst(plain: PlainPass, found: ByClass, path: Path) -> None:
    """Draw the confusion matrix and the worst mistakes of a pass. Raises RunError if that fails."""
    worst = [mistake.index for mistake in found.worst[:DRAWN]]
    images = [picture(sample, plain.feed.preprocess) for sample in samples_at(plain.feed.test, worst)]
    draw_mistakes(found, images, path)


def samples_at(batches: EvaluationSource, wanted: Sequence[int]) -> list[Tensor]:
    """The samples with these numbers, in that order: images [C, H, W], or frames [T, C, H, W]."""
    found: dict[int, Tensor] = {}
    first = 0
    for images, labels in batches:
        inside = {index for index in wanted if first <= index < first + len(labels)}
        found |= {index: images.select(-4, index - first).cpu() for index in inside}
        first += len(labels)
        if len(found) == len(set(wanted)):
            break
    return [found[index] for index in wanted]


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
    return np.asarray(colours.permute(1, 2, 0).squeeze(2).numpy() if len(colours) == 1 else colours.permute(1, 2, 0))
