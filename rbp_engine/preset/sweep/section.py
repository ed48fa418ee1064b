"""`[sweep]` of a preset: which settings a sweep of it varies, and over which seeds."""

import hashlib
import math
import random
from dataclasses import dataclass
from typing import Any

from rbp_engine.preset.overrides import SHORT_NAMES, parse_overrides, setting_word
from rbp_engine.preset.sweep.varied import Varied

#: The searches that `search` may name.
SEARCHES = ("tpe",)
#: How a search judges trials before their end, and which score it looks for.
PRUNERS = ("median", "hyperband")
OBJECTIVES = ("last", "best")
DIGITS = 4


@dataclass(frozen=True)
class Drawn:
    """A setting whose value is drawn for each trial: one of `choices`, if there are any, or a number in a range.

    Both ends of the range belong to it. `log`: the logarithm is drawn evenly; `whole`: only whole numbers.
    """

    name: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    @property
    def key(self) -> str:
        """The dotted key of the setting."""
        return SHORT_NAMES.get(self.name, self.name)

    def word(self, trial: int) -> str:
        """The override of a trial. It depends on nothing else, so that more trials or settings leave it as it is."""
        seed = hashlib.sha256(f"{self.key} {trial}".encode()).digest()
        share = random.Random(seed).random()
        if self.choices:
            return f"{self.name}={self.choices[int(share * len(self.choices))]}"
        return self.word_of(self.at(share))

    def at(self, share: float) -> float:
        """The number at a share of the range, from 0 up to but without 1."""
        if self.whole and not self.log:
            return self.low + math.floor(share * (self.high - self.low + 1))
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return min(max(math.exp(low + share * (high - low)), self.low), self.high)
        return self.low + share * (self.high - self.low)

    def as_toml_value(self) -> Any:
        """The choices, or the range, as TOML holds them."""
        if self.choices:
            return [value_in(f"{self.name}={choice}") for choice in self.choices]
        low, high = (round(end) if self.whole else end for end in (self.low, self.high))
        return {"from": low, "to": high} | ({"log": True} if self.log else {})

    def word_of(self, value: float) -> str:
        """The override of a number in the range, with as many digits as anybody wants to type."""
        if self.whole:
            return setting_word(self.key, round(value))
        return setting_word(self.key, min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high))


@dataclass(frozen=True)
class SweepSection:
    """What `[sweep]` says; empty where it says nothing.

    The combinations of settings are those of the `grid`, or are spelled out as `listed`, each as override words. With
    `trials`, each combination is trained with so many draws of the settings in `drawn`. A `search` chooses values of
    `grid` and `drawn` by itself; `prune`, of PRUNERS, and `objective`, of OBJECTIVES, belong to it. Values that are
    paths lead to the same files from the working directory.
    """

    seeds: tuple[int, ...] = ()
    trials: int = 0
    search: str = ""
    prune: str = ""
    objective: str = ""
    grid: tuple[Varied, ...] = ()
    listed: tuple[tuple[str, ...], ...] = ()
    drawn: tuple[Drawn, ...] = ()

    def as_toml_values(self) -> dict[str, Any]:
        """The section as TOML holds it, without what it does not say."""
        values = {
            "seeds": list(self.seeds),
            "trials": self.trials,
            "search": self.search,
            "grid": {one.name: [value_in(word) for word in one.words] for one in self.grid},
            "list": [{word.partition("=")[0]: value_in(word) for word in words} for words in self.listed],
            "random": {one.name: one.as_toml_value() for one in self.drawn},
        }
        return {name: value for name, value in values.items() if value}


def value_in(word: str) -> Any:
    """The value in an override word that is known to be one."""
    (override,), _ = parse_overrides([word])
    return override.value
