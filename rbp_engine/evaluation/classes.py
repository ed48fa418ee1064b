"""What a network takes for what: counts by class, confusions, and the most confident mistakes. Without torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rbp_engine.printable import LONGEST_NAME, one_line
from rbp_engine.run.files.evaluation_json import ByClass, ClassCounts, Confusion, EvaluatedWeights, Mistake

#: Of 70 classes these are all pairs; of more, the most frequent.
CONFUSIONS_KEPT = 5000
WORST_KEPT = 40


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
    """The pairs that were taken for each other, the most frequent first."""
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
