"""What another program hands over, whatever it is: numbers and settings.

Numbers are sorted by name into training, evaluations and numbers of its own. Settings are any keys with any values.

Keys that presets have, as `lr` or `{"optim": {"lr": …}}`, keep their names, so that lists, queries and comparisons of
runs find them where they find those of presets. The others stand in the table `[settings]`, under their dotted names.
"""

import contextlib
import functools
import hashlib
import itertools
import json
import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeGuard

from rbp_engine.codec import LARGEST
from rbp_engine.preset import SHORT_NAMES
from rbp_engine.preset.fields import settings
from rbp_engine.preset.overrides import key_of_others
from rbp_engine.preset.resolved import as_toml
from rbp_engine.printable import one_line
from rbp_engine.run.errors import RunError
from rbp_engine.untrusted_files import parse_toml

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
    with contextlib.suppress(Exception):  # whatever a value of the program's may raise
        number = int(value)
        if number == value and 0 <= number < LARGEST:
            return number
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


OWN = "settings"
SEED = "run.seed"
HEAD = "# What another program was given to train with. This is no preset of rbp.\n"
_LONGEST_TEXT = 2000
_MOST = 500  # of which each takes a millisecond to write
_DEEPEST = 16


@dataclass(frozen=True)
class GivenSettings:
    """Settings by dotted key, as `optim.lr` or `settings.dropout`."""

    values: dict[str, Any]

    def sections(self) -> dict[str, dict[str, Any]]:
        """The settings as presets have them, in sections."""
        sections: dict[str, dict[str, Any]] = {}
        for key, value in self.values.items():
            section, _, name = key.partition(".")
            sections.setdefault(section, {})[name] = value
        return sections

    def toml(self) -> str:
        """The contents of `preset.toml`. Raises RunError if they are more than any reader takes."""
        text = HEAD + as_toml(self.sections()).encode(errors="backslashreplace").decode()
        try:
            parse_toml(text)
        except ValueError as error:
            raise RunError(f"these settings cannot be kept: {error}") from error
        return text

    def experiment(self, program: str) -> str:
        """The SHA-256 (hexadecimal) of what the program trains, whatever the seed; never that of a preset."""
        chosen = {key: value for key, value in self.values.items() if key != SEED}
        text = f"trained by {program}: {json.dumps(chosen, sort_keys=True, default=str)}"
        return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()

    def text(self, key: str) -> str:
        """A setting that is text; empty if it is not given, or is something else."""
        value = self.values.get(key)
        return value if isinstance(value, str) else ""

    def count(self, key: str) -> int:
        """A setting that is a whole number from 0; 0 if it is not given, or is something else."""
        value = self.values.get(key)
        return value if _is_count(value) else 0


def given_settings(given: Mapping[Any, Any]) -> GivenSettings:
    """The settings in a dictionary, whatever is in it; None is left out, and what TOML cannot say becomes text.

    A seed is a whole number, else it is a setting like others.

    Raises RunError if they are more than anybody reads, or if the dictionary itself cannot be read.
    """
    known = settings()
    tables = {key for key, info in known.items() if info.type.startswith("table")}
    try:
        leaves = dict(itertools.islice(_leaves("", given, tables), _MOST + 1))
    except Exception as error:  # a mapping of the program's own may raise anything
        raise RunError(f"these settings cannot be read: {type(error).__name__}: {shown(error)}") from error
    if len(leaves) > _MOST:
        raise RunError(f"these are more than {_MOST} settings: give those that say what is trained")
    keys = {name: SHORT_NAMES.get(name) or key_of_others(name) or name for name in leaves}
    values = {}
    for name, key in keys.items():
        value = _read(leaves[name], known[key].type) if key in known else leaves[name]
        fits = key in known and (key != SEED or _is_count(value))
        values[key if fits else f"{OWN}.{name}"] = value
    return GivenSettings(values)


def _read(value: Any, kind: str) -> Any:
    """A number that came as text, as from `add_text` or a command line, where presets have one; else the value."""
    if isinstance(value, str) and kind in ("integer", "number"):
        for read in (int, float) if kind == "number" else (int,):
            with contextlib.suppress(ValueError):
                return _plain(read(value), 0)
    return value


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST


def _leaves(
    prefix: str, given: Mapping[Any, Any], tables: set[str], depth: int = _DEEPEST
) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        key = f"{prefix}{_text(name)}"
        if isinstance(value, Mapping) and value and key not in tables and depth:
            yield from _leaves(f"{key}.", value, tables, depth - 1)
        elif (plain := _plain(value, depth)) is not None:
            yield key, plain


def _plain(value: Any, depth: int) -> Any:
    """The value as TOML has it; None for nothing."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else _text(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)) and depth and len(value) <= _MOST:
        return [plain for item in value if (plain := _plain(item, depth - 1)) is not None]
    if isinstance(value, Mapping) and depth:
        return {_text(key): plain for key, item in value.items() if (plain := _plain(item, depth - 1)) is not None}
    return _text(value)


def _text(value: Any) -> str:
    """A value as text, whatever its `str` does."""
    try:
        text = str(value)
    except Exception as error:  # as that of a whole number of 5,000 digits, or of 5,000 levels
        return f"({type(value).__name__}, not kept: {type(error).__name__})"
    return text if len(text) <= _LONGEST_TEXT else f"({len(text)} characters, not kept)"
