"""What a training loop logs, sorted by name into training, evaluations and numbers of its own."""

import functools
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rbp_engine.codec import LARGEST
from rbp_engine.printable import one_line
from rbp_engine.run.errors import RunError

_WORDS = {"acc": "top1", "accuracy": "top1", "acc1": "top1", "acc5": "top5", "learning_rate": "lr"}
_TRAINING = frozenset({"loss", "top1", "lr", "samples_per_s", "step_ms", "data_ms"})
_EVALUATION = frozenset({"loss", "top1", "top5", "samples"})
ACCURACIES = frozenset({"top1", "top5"})


class Part(StrEnum):
    """Where a number belongs."""

    TRAINING = "train"
    HELD_OUT = "held-out"
    TEST = "test"
    OWN = "own"


_PARTS = {
    "train": Part.TRAINING,
    "val": Part.HELD_OUT,
    "valid": Part.HELD_OUT,
    "validation": Part.HELD_OUT,
    "eval": Part.HELD_OUT,
    "test": Part.TEST,
}


@dataclass
class SortedNumbers:
    """The numbers of one call by part and name; `refused` says what was not kept as it was given, by name."""

    parts: dict[Part, dict[str, float | None]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def sort_numbers(given: Mapping[Any, Any]) -> SortedNumbers:
    """Take each value once, and put it where it belongs. A number that is not finite becomes None."""
    sorted_ = SortedNumbers()
    for name, value in _flat(given):
        try:
            number = _number(value)
        except (TypeError, ValueError, RuntimeError, OverflowError):  # RuntimeError: a tensor of several numbers
            sorted_.refused[name] = f"{type(value).__name__}, no number"
            continue
        part, known = place_of(name)
        if known in ACCURACIES and number is not None and not 0 <= number <= 1:
            sorted_.refused[name] = f"{number:g}, while accuracies are from 0 to 1: it is kept as a number of your own"
            part, known = Part.OWN, name
        sorted_.parts.setdefault(part, {})[known] = number
    return sorted_


def whole_number(name: str, value: Any) -> int:
    """The value as a whole number that files of runs can have: from 0, below 2**63. Raises RunError for any other."""
    try:
        number = int(value)
        if number == value and 0 <= number < LARGEST:
            return number
    except Exception:  # whatever a value of the program's may raise
        pass
    raise RunError(f"{name}={shown(value)}: expected a whole number from 0")


def shown(value: Any) -> str:
    """A value in a message, of whatever kind it is."""
    try:
        return one_line(reprlib.repr(value))
    except Exception:  # its `repr` may raise anything, and that of a whole number of 5,000 digits does
        return type(value).__name__


@functools.lru_cache(maxsize=1024)
def place_of(name: str) -> tuple[Part, str]:
    """Where a name belongs, and what the number is called there: `val/acc` is an evaluation's `top1`."""
    flat = name.lower().replace("/", "_").replace(".", "_")
    prefix, _, rest = flat.partition("_")
    if prefix not in _PARTS:  # `Loss/train`, as others write it
        rest, _, prefix = flat.rpartition("_")
    if rest and prefix in _PARTS:
        word = _WORDS.get(rest, rest)
        part = _PARTS[prefix]
        if word in (_TRAINING if part is Part.TRAINING else _EVALUATION):
            return part, word
    word = _WORDS.get(name.lower(), name)
    return (Part.TRAINING, word) if word in _TRAINING else (Part.OWN, name)


def _flat(given: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _number(value: Any) -> float | None:
    """The value as a finite number, None if it is not finite; a tensor is fetched from its device, once."""
    if not isinstance(value, (int, float)):
        item = getattr(value, "item", None)
        value = item() if item is not None else value
        if isinstance(value, (str, bytes)):
            raise TypeError("text is no number")
    number = float(value)
    return number if number - number == 0.0 else None
