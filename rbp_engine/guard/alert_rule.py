"""Alert rules, as `val.top1 < 0.2 after epoch 10`: the grammar of `guard.alerts`."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rbp_engine.settings.spelling import did_you_mean

MEMORY = "memory"
_SHARE, _MS, _BYTES = {"": 1.0, "%": 0.01}, {"": 1.0, "ms": 1.0, "s": 1000.0}, {"MiB": 2.0**20, "GiB": 2.0**30}
#: The numbers that a rule may be about, as the events have them, each with its units and what one of them is there.
NAMES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "train.loss": {"": 1.0},
        "train.top1": _SHARE,
        "train.lr": {"": 1.0},
        "train.samples_per_s": {"": 1.0},
        "train.step_ms": _MS,
        "train.data_ms": _MS,
        "val.loss": {"": 1.0},
        "val.top1": _SHARE,
        "val.top5": _SHARE,
        "val.ema_top1": _SHARE,
        # Without a unit nobody could tell a share from bytes.
        MEMORY: {"%": 0.01, **_BYTES},
        "gpu_util": _SHARE,
        "power": {"": 1.0, "W": 1.0},
    }
)
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}
)
LONGEST = 200
MOST = 1_000_000_000

_RULE = re.compile(r"([^\s<>=]+) *(<=|>=|<|>) *([^\s<>=]+(?: [^\s<>=]+)?)(?: +after +(epoch|step) +(\S+))?")
_QUANTITY = re.compile(r"([+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?) ?([A-Za-z%]*)")
_COUNT = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True)
class AlertRule:
    """Tell of it if `name` compares so with `limit`, once `after` epochs or steps are complete.

    The limit is as in the events; one `unit` of the rule is `scale` there. `of_capacity`: the memory as a share of what
    there is, not in bytes.
    """

    text: str
    name: str
    comparison: str
    limit: float
    after_epoch: int = 0
    after_step: int = 0
    unit: str = ""
    scale: float = 1.0
    of_capacity: bool = False

    def shown(self, value: float) -> str:
        """A value in the unit of the rule."""
        return f"{value / self.scale:.4g} {self.unit}".rstrip()

    def holds(self, value: float, epoch: int, step: int) -> bool:
        """Whether to tell of a value after so many complete epochs and steps; never of NaN."""
        due = epoch >= self.after_epoch and step >= self.after_step
        return due and COMPARISONS[self.comparison](value, self.limit)


def parse_alert(text: str) -> AlertRule:
    """The rule in a text: `NAME < NUMBER`, with a unit where there is one, and `after epoch N` or `after step N`.

    Raises ValueError with everything that is wrong with it.
    """
    found = _RULE.fullmatch(text.strip()) if len(text) <= LONGEST else None
    if found is None:
        raise ValueError(
            'expected a name, a comparison (<, >, <=, >=) and a number, as "val.top1 < 0.2 after epoch 10" or '
            '"memory > 90 %"'
        )
    name, comparison, quantity, unit_of_place, place = found.groups()
    problems = []
    units = NAMES.get(name)
    if units is None:
        guess = did_you_mean(name, NAMES) or f" There are: {', '.join(NAMES)}"
        problems.append(f"{name!r} is no number of a run.{guess}".rstrip("."))
    number = _QUANTITY.fullmatch(quantity)
    if number is None or not math.isfinite(float(number[1])):
        problems.append(f"{quantity!r} is no number")
    elif units is not None and number[2] not in units:
        ways = [f"{number[1]} {unit}".rstrip() for unit in units]
        problems.append(f"{quantity!r} has no unit of {name}: write {' or '.join(ways)}")
    if place is not None and not (_COUNT.fullmatch(place) and int(place) <= MOST):
        problems.append(f"after {unit_of_place} {place!r} is no whole number")
    if problems or units is None or number is None:
        raise ValueError("; ".join(problems))
    # As in queries: a share above 1 can only be a percentage.
    unit = "%" if units is _SHARE and float(number[1]) > 1.0 else number[2]
    scale, count = units[unit], int(place or 0)
    return AlertRule(
        " ".join(text.split()),
        name,
        comparison,
        float(number[1]) * scale,
        count if unit_of_place == "epoch" else 0,
        count if unit_of_place == "step" else 0,
        unit,
        scale,
        of_capacity=name == MEMORY and unit == "%",
    )
