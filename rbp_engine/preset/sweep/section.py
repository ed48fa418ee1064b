"""What `[sweep]` of a preset, or the command line, varies: settings with their values or a range, and the seeds."""

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rbp_engine.errors import UserError
from rbp_engine.preset.overrides import SHORT_NAMES, parse_overrides, setting_word

OPENING, CLOSING, QUOTES = "[{", "]}", "\"'"
DIGITS = 4


@dataclass(frozen=True)
class Varied:
    """A setting, by its full name or its short one, and its `values` as texts; if there are none, a range of numbers.

    Both ends of the range belong to it. `log`: the logarithm is drawn evenly; `whole`: only whole numbers.
    """

    name: str
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    @property
    def key(self) -> str:
        """The dotted key of the setting."""
        return SHORT_NAMES.get(self.name, self.name)

    @property
    def words(self) -> tuple[str, ...]:
        """The override for each value, or for both ends of the range."""
        if self.values:
            return tuple(f"{self.name}={value}" for value in self.values)
        return self.word_of(self.low), self.word_of(self.high)

    @property
    def fault(self) -> str:
        """What is wrong with the range; empty if nothing is."""
        if not self.values and self.low >= self.high:
            return "the first number must be less than the second"
        return "a logarithm needs numbers over 0" if self.log and self.low <= 0 else ""

    def word(self, trial: int) -> str:
        """The override of a trial. It depends on nothing else, so that more trials or settings leave it as it is."""
        seed = hashlib.sha256(f"{self.key} {trial}".encode()).digest()
        share = random.Random(seed).random()
        return self.words[int(share * len(self.values))] if self.values else self.word_of(self.at(share))

    def at(self, share: float) -> float:
        """The number at a share of the range, from 0 up to but without 1."""
        if self.whole and not self.log:
            return self.low + math.floor(share * (self.high - self.low + 1))
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return min(max(math.exp(low + share * (high - low)), self.low), self.high)
        return self.low + share * (self.high - self.low)

    def word_of(self, value: float | str) -> str:
        """The override of a value, or of a number in the range with as many digits as anybody wants to type."""
        if isinstance(value, str):
            return f"{self.name}={value}"
        if self.whole:
            return setting_word(self.key, round(value))
        return setting_word(self.key, min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high))


def value_in(word: str) -> Any:
    """The value in an override word that is known to be one."""
    (override,), _ = parse_overrides([word])
    return override.value


def key_of(word: str) -> str:
    """The dotted key of the setting in an override word."""
    name = word.partition("=")[0].strip()
    return SHORT_NAMES.get(name, name)


def refuse_twice(words: Sequence[str]) -> None:
    """Raise UserError if two of these words set the same: which one counts would be a guess."""
    seen: dict[str, str] = {}
    for word in words:
        if "=" in word and (first := seen.setdefault(key_of(word), word)) is not word:
            raise UserError(f"{first} and {word} set the same: leave one of them out")


def split_values(text: str) -> tuple[str, ...]:
    """The values in a list like `bptt,rate_m`; a comma in brackets or quotes belongs to its value."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in QUOTES:
            quote = character
        elif character == "," and depth == 0:
            parts.append("")
            continue
        else:
            depth += (character in OPENING) - (character in CLOSING)
        parts[-1] += character
    return tuple(part.strip() for part in parts)


#: The searches that `search` may name.
SEARCHES = ("tpe",)
#: How a search judges trials before their end, and which score it looks for.
PRUNERS = ("median",)


@dataclass(frozen=True)
class SweepSection:
    """What `[sweep]` says; empty where it says nothing.

    The combinations of settings are those of the `grid`, or are spelled out as `listed`, each as override words. With
    `trials`, each combination is trained with so many draws of the settings in `drawn`. A `search` chooses values of
    `grid` and `drawn` by itself; `prune`, of PRUNERS, belongs to it. Values that are paths lead
    to the same files from the working directory; `written` is the table as it stands in the file.
    """

    seeds: tuple[int, ...] = ()
    trials: int = 0
    search: str = ""
    prune: str = ""
    grid: tuple[Varied, ...] = ()
    listed: tuple[tuple[str, ...], ...] = ()
    drawn: tuple[Varied, ...] = ()
    written: Mapping[str, Any] = field(default_factory=dict, compare=False)
