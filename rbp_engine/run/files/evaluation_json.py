"""`evaluation.json`: what `rbp eval` has found about the weights of a run beside their accuracy, for the dashboard.

The file may be damaged or come from elsewhere: a part that does not fit as a whole is left out when it is read.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from rbp_engine.printable import Line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.file_memo import FileMemo
from rbp_engine.run.files.json_fields import LATEST_T, fields_of
from rbp_engine.run.files.layout import RunDirectory, object_in, write_json

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
    samples: int
    timesteps: int
    top1: float
    t: float


@dataclass(frozen=True)
class Disturbed:
    """The accuracy at `timesteps` under a disturbance, one of DISTURBANCES.

    `amount` is the noise in standard deviations of the input, or how many timesteps had no input; else 0.
    """

    kind: Line
    timesteps: int
    amount: float
    top1: float


@dataclass(frozen=True)
class Robustness:
    """The accuracies of disturbed inputs, drawn from `seed`.

    `input_deviation` is the standard deviation that noise is measured in: 1 for normalised images.
    """

    of: EvaluatedWeights
    seed: int
    input_deviation: float
    rows: tuple[Disturbed, ...]


@dataclass(frozen=True)
class ClassCounts:
    """Of a class: how many samples it has, how many of them are right, and how often it was predicted at all."""

    name: Line
    samples: int
    right: int
    predicted: int

    @property
    def accuracy(self) -> float | None:
        """The share of its samples that are right; None if it has none."""
        return self.right / self.samples if self.samples else None


@dataclass(frozen=True)
class Confusion:
    """How often a sample of one class, `label`, was taken for another, `predicted`."""

    label: int
    predicted: int
    count: int


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction for the sample at `index` of the split, counted from 0.

    `confidence` is the softmax of the time mean of its logits.
    """

    index: int
    label: int
    predicted: int
    confidence: float


@dataclass(frozen=True)
class ByClass:
    """What was taken for what: the classes by label, the most frequent confusions, and the most confident mistakes."""

    of: EvaluatedWeights
    classes: tuple[ClassCounts, ...]
    confusions: tuple[Confusion, ...]
    worst: tuple[Mistake, ...]

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
    """Both parts; None where the run has not been evaluated so, or the file is damaged there."""

    robustness: Robustness | None = None
    by_class: ByClass | None = None

    def as_json(self) -> dict[str, Any]:
        """Both parts as objects; accuracies are fractions."""
        return asdict(self)


def read_evaluation(run: RunDirectory) -> Evaluation:
    """What is known of a run, printable; empty if the file is missing or damaged."""
    try:
        return _memo.read(run.evaluation_json)
    except OSError:
        return Evaluation()


def save_evaluation(run: RunDirectory, found: Evaluation) -> None:
    """Replace the parts of the file that have been found anew. Raises RunError if it cannot be written."""
    old = read_evaluation(run)
    whole = Evaluation(found.robustness or old.robustness, found.by_class or old.by_class)
    try:
        write_json(run.evaluation_json, whole.as_json())
    except OSError as error:
        raise RunError(f"cannot write {run.evaluation_json}: {error.strerror}") from error
    _memo.forget(run.evaluation_json)


def evaluation_in(value: dict[str, Any]) -> Evaluation:
    """The parts in a JSON object that fit as a whole."""
    return Evaluation(_part(_robustness, value.get("robustness")), _part(_by_class, value.get("by_class")))


T = TypeVar("T")


def _part(read: Any, value: Any) -> Any:
    try:
        return read(value)
    except (ValueError, TypeError, AttributeError):
        return None


def _robustness(value: dict[str, Any]) -> Robustness:
    rows = _records(Disturbed, value.get("rows"))
    if any(row.kind not in DISTURBANCES for row in rows):
        raise ValueError("a disturbance of another kind")
    numbers = {name: _number(name, value.get(name)) for name in ("seed", "input_deviation")}
    return Robustness(_record(EvaluatedWeights, value.get("of")), **numbers, rows=rows)


def _by_class(value: dict[str, Any]) -> ByClass:
    classes = _records(ClassCounts, value.get("classes"))
    found = ByClass(
        _record(EvaluatedWeights, value.get("of")),
        classes,
        _records(Confusion, value.get("confusions")),
        _records(Mistake, value.get("worst")),
    )
    pairs: list[Confusion | Mistake] = [*found.confusions, *found.worst]
    if not 0 < len(classes) <= MOST_CLASSES or any(max(one.label, one.predicted) >= len(classes) for one in pairs):
        raise ValueError("a label of no class")
    return found


def _records(kind: type[T], value: Any) -> tuple[T, ...]:
    if not isinstance(value, list):
        raise ValueError("it is not a list")
    return tuple(_record(kind, item) for item in value)


def _record(kind: type[T], value: Any) -> T:
    """The record in a JSON object. Raises ValueError unless all of its fields fit, and all numbers are possible."""
    found = fields_of(kind, value)
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass
        if not isinstance(found[field.name], str):
            _number(field.name, found[field.name])
    return kind(**found)


def _number(name: str, number: Any) -> Any:
    largest = 1.0 if name in ("top1", "confidence") else LATEST_T
    if type(number) not in (int, float) or not 0 <= number <= largest:
        raise ValueError(f"{name} is {number!r}")
    return number


_memo = FileMemo(lambda content: evaluation_in(object_in(content)))
