"""`[sweep]` as it is written. The settings in it are read by `rbp_engine/preset/sweep/check.py`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from rbp_engine.preset.sections.base import Section, field

MOST_SEEDS = 1000
MOST_TRIALS = 1000

# In the class, `list` is a field.
Seeds = list[Annotated[int, Field(ge=0, lt=10**18)]]
Table = dict[str, Any]
Tables = list[Table]


class Sweep(Section):
    """What the section may say. It is no part of a run, which none of this changes."""

    seeds: Seeds = field(
        [],
        "place",
        "",
        "Every combination is trained with each; the preset's own seed if left out.",
        min_length=1,
        max_length=MOST_SEEDS,
    )
    trials: int = field(0, "place", "", "How many times [sweep.random] is drawn.", ge=1, le=MOST_TRIALS)
    search: Literal["tpe"] = field(
        "tpe", "place", "", '"tpe" chooses the values of each trial by what earlier ones have reached.'
    )
    prune: Literal["median"] = field(
        "median", "place", "", "How a search stops trials that do worse than others at the same epoch."
    )
    grid: Table = field({}, "place", "", "As T = [2, 4]: settings with their values, whose combinations are trained.")
    list: Tables = field([], "place", "", "As T = 4, instead of a grid: the combinations, spelled out.")
    random: Table = field(
        {},
        "place",
        "",
        "As lr = {from = 0.01, to = 0.5, log = true}: settings that are drawn; the space of a search.",
    )


class Range(Section):
    """Numbers to draw from."""

    low: float = Field(alias="from")
    high: float = Field(alias="to")
    log: bool = False
