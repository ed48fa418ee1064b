"""`evaluation.json`: what `rbp eval` has found about the weights of a run beside their accuracy, for the dashboard.

The file may be damaged or come from elsewhere: it is then read as empty.
"""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from rbp_engine.codec import Amount, Count, Fraction, Seconds, decode
from rbp_engine.printable import Line
from rbp_engine.run.errors import cannot
from rbp_engine.run.files.file_memo import FileMemo
from rbp_engine.run.files.layout import RunDirectory

# What a test that disturbs the network changes.
TIMESTEPS, SHUFFLED, NOISE, DROPPED = "timesteps", "shuffled", "noise", "dropped"
DISTURBANCES = (TIMESTEPS, SHUFFLED, NOISE, DROPPED)
MOST_CLASSES = 100_000


@dataclass(frozen=True)
class EvaluatedWeights:
    """Which weights ("last" or "best", of which checkpoint) had which accuracy on how many samples of which split.

    `timesteps` is T, `t` when it was found, in seconds since the epoch.
    """

    weights: Line
    checkpoint: Line
    split: Line
    samples: Count
    timesteps: Count
    top1: Fraction
    t: Seconds


@dataclass(frozen=True)
class Disturbed:
    """The accuracy at `timesteps` under a disturbance, one of DISTURBANCES.

    `amount` is the noise in standard deviations of the input, or how many timesteps had no input; else 0.
    """

    kind: Line
    timesteps: Count
    amount: Amount
    top1: Fraction

    def __post_init__(self) -> None:
        if self.kind not in DISTURBANCES:
            raise ValueError(f"{self.kind} is no disturbance")


@dataclass(frozen=True)
class Robustness:
    """The accuracies of disturbed inputs, drawn from `seed`.

    `input_deviation` is the standard deviation that noise is measured in: 1 for normalised images.
    """

    of: EvaluatedWeights
    seed: Count
    input_deviation: Amount
    rows: tuple[Disturbed, ...]


@dataclass(frozen=True)
class ClassCounts:
    """Of a class: how many samples it has, how many of them are right, and how often it was predicted at all."""

    name: Line
    samples: Count
    right: Count
    predicted: Count

    @property
    def accuracy(self) -> float | None:
        """The share of its samples that are right; None if it has none."""
        return self.right / self.samples if self.samples else None


@dataclass(frozen=True)
class Confusion:
    """How often a sample of one class, `label`, was taken for another, `predicted`."""

    label: Count
    predicted: Count
    count: Count


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction for the sample at `index` of the split, counted from 0.

    `confidence` is the softmax of the time mean of its logits.
    """

    index: Count
    label: Count
    predicted: Count
    confidence: Fraction


@dataclass(frozen=True)
class ByClass:
    """What was taken for what: the classes by label, the most frequent confusions, and the most confident mistakes."""

    of: EvaluatedWeights
    classes: Annotated[tuple[ClassCounts, ...], Meta(min_length=1, max_length=MOST_CLASSES)]
    confusions: tuple[Confusion, ...]
    worst: tuple[Mistake, ...]

    def __post_init__(self) -> None:
        pairs: list[Confusion | Mistake] = [*self.confusions, *self.worst]
        if any(max(one.label, one.predicted) >= len(self.classes) for one in pairs):
            raise ValueError("a label of no class")

    def matrix(self) -> list[list[int]]:
        """The confusion matrix: a row for each label, a column for each prediction."""
        rows = [[0] * len(self.classes) for _ in self.classes]
        for label, counts in enumerate(self.classes):
            rows[label][label] = counts.right
        for confusion in self.confusions:
            rows[confusion.label][confusion.predicted] = confusion.count
        return rows


@dataclass(frozen=True)
class Evaluation:
    """Both parts; None where the run has not been evaluated so."""

    robustness: Robustness | None = None
    by_class: ByClass | None = None

    def as_json(self) -> dict[str, Any]:
        """Both parts as objects; accuracies are fractions."""
        return asdict(self)


def read_evaluation(run: RunDirectory) -> Evaluation:
    """What is known of a run, printable; empty if the file is missing or damaged."""
    return _memo.find(run.evaluation_json, Evaluation())


def save_evaluation(run: RunDirectory, found: Evaluation) -> None:
    """Replace the parts of the file that have been found anew. Raises RunError if it cannot be written."""
    old = read_evaluation(run)
    whole = Evaluation(found.robustness or old.robustness, found.by_class or old.by_class)
    with cannot(f"write {run.evaluation_json}"):
        _memo.write(run.evaluation_json, whole.as_json())


_memo = FileMemo(partial(decode, Evaluation))
