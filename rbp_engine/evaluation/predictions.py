"""The predictions for every sample of the test set, and a file of them."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import write_atomic
from rbp_engine.train.score_sums import first_five


@dataclass(frozen=True, eq=False)
class Predictions:
    """`labels` [N], `predicted` classes [N], and `logits` [N, C], the mean over the timesteps."""

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    logits: NDArray[np.float32]


class PredictionBuilder:
    """Collects the predictions of batches, in their order."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, labels: Tensor, logits_by_step: Tensor) -> None:
        """Add a batch of labels [B] and logits [T, B, C]."""
        logits = logits_by_step.mean(0)
        self._batches.append((labels.cpu(), first_five(logits)[:, 0].cpu(), logits.float().cpu()))

    def predictions(self) -> Predictions:
        """All that was added."""
        labels, predicted, logits = (torch.cat(parts).numpy() for parts in zip(*self._batches, strict=True))
        return Predictions(labels, predicted, logits)


def write_predictions(path: Path, found: Predictions) -> None:
    """Write label, prediction and logits of each sample. Raises RunError if that fails.

    An .npz file has `labels` [N], `predictions` [N] and `logits` [N, C]; a .csv file a line for each sample.
    """
    if path.suffix.lower() == ".npz":
        packed = io.BytesIO()
        np.savez_compressed(packed, labels=found.labels, predictions=found.predicted, logits=found.logits)
        contents: bytes | str = packed.getvalue()
    else:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["index", "label", "prediction", *(f"logit_{label}" for label in range(found.logits.shape[1]))])
        rows = zip(found.labels.tolist(), found.predicted.tolist(), found.logits.tolist(), strict=True)
        writer.writerows([index, label, predicted, *logits] for index, (label, predicted, logits) in enumerate(rows))
        contents = text.getvalue()
    try:
        write_atomic(path, contents)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error
