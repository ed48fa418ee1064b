"""`[sweep]` of a preset: which settings a sweep of it varies, and over which seeds."""

from dataclasses import dataclass
from typing import Any

from rbp_engine.preset.sweep.varied import Varied, value_in

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
    to the same files from the working directory.
    """

    seeds: tuple[int, ...] = ()
    trials: int = 0
    search: str = ""
    prune: str = ""
    grid: tuple[Varied, ...] = ()
    listed: tuple[tuple[str, ...], ...] = ()
    drawn: tuple[Varied, ...] = ()

    def as_toml_values(self) -> dict[str, Any]:
        """The section as TOML holds it, without what it does not say."""
        values = {
            "seeds": list(self.seeds),
            "trials": self.trials,
            "search": self.search,
            "grid": {one.name: one.as_toml_value() for one in self.grid},
            "list": [{word.partition("=")[0]: value_in(word) for word in words} for words in self.listed],
            "random": {one.name: one.as_toml_value() for one in self.drawn},
        }
        return {name: value for name, value in values.items() if value}
