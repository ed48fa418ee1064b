"""Mean and standard deviation over the seeds of an experiment, how far the mean may be from the true one, and whether
two experiments are equally accurate.

Two one-sided t tests show that a difference is below a margin (Schuirmann, 1987), a two-sided one that there is a
difference. Several differences are judged as a family: each kind of test is corrected by Holm (1979).
"""

import functools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CONFIDENCE = 0.95
LEVEL = 0.05  # of each test
JUDGED = (
    "verdict: equivalent within the margin (two one-sided t tests), different (a two-sided one), else inconclusive; at "
    f"{100 * LEVEL:.0f} %, each kind corrected by Holm for all rows"
)


@dataclass(frozen=True)
class Spread:
    """The mean of `count` values and their sample standard deviation (n - 1), None for a single value."""

    mean: float
    std: float | None
    count: int

    @property
    def interval(self) -> float | None:
        """Half the width of the 95 % confidence interval of the mean (Student's t); None for a single value."""
        return None if self.std is None else student_t(self.count - 1) * self.std / math.sqrt(self.count)


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation, in the unit of the values. Raises ValueError if there are none."""
    if not values:
        raise ValueError("a mean needs at least one value")
    # Exact sums: the result does not depend on the order of seeds, and equal values have a deviation of exactly 0.
    mean = float(statistics.mean(values))
    return Spread(mean, float(statistics.stdev(values)) if len(values) > 1 else None, len(values))


def spread_of_known(values: Iterable[float | None]) -> Spread | None:
    """The spread of the values that are known; None if there are none."""
    known = [value for value in values if value is not None]
    return spread(known) if known else None


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are known; None if there are none."""
    found = spread_of_known(values)
    return found.mean if found else None


def paired(ours: Mapping[Any, float | None], theirs: Mapping[Any, float | None]) -> Spread | None:
    """The spread of the differences ours - theirs, each a value by seed; None without a common seed."""
    return spread_of_known(paired_by_seed(ours, theirs))


def paired_by_seed(ours: Mapping[Any, float | None], theirs: Mapping[Any, float | None]) -> list[float]:
    """The differences ours - theirs, each a value by seed, over the seeds that both know.

    Effects of the seed, such as the order of the data, cancel out. A seed that is unknown, as another program's may be,
    is left out.
    """
    known = [(value, theirs.get(seed)) for seed, value in ours.items() if seed is not None]
    return [one - other for one, other in known if one is not None and other is not None]


@dataclass(frozen=True)
class Judged:
    """What is shown of a difference; the p values are corrected for those that were judged with it."""

    difference: Spread
    equivalent_p: float
    different_p: float

    @property
    def interval(self) -> float:
        """Half the width of the 90 % interval of the mean; a single difference is equivalent if it is in the margin."""
        return student_t(self.difference.count - 1, 1 - 2 * LEVEL) * _standard_error(self.difference)

    @property
    def equivalent(self) -> bool:
        """Whether it is shown to be within the margin."""
        return self.equivalent_p < LEVEL

    @property
    def different(self) -> bool:
        """Whether there is shown to be a difference, be it within the margin or not."""
        return self.different_p < LEVEL

    @property
    def word(self) -> str:
        """equivalent, different, both, or inconclusive."""
        return ", ".join(word for word in ("equivalent", "different") if getattr(self, word)) or "inconclusive"


def judge_differences(differences: Sequence[Spread | None], margin: float) -> list[Judged | None]:
    """What is shown of each difference; `margin` is in their unit. None for one of fewer than two seeds.

    Raises ValueError if the margin is not positive.
    """
    if not margin > 0:
        raise ValueError(f"a margin must be above 0, got {margin}")
    known = [one for one in differences if one is not None and one.std is not None]
    equivalent = holm([max(_above(-margin, one), _above(-margin, _mirrored(one))) for one in known])
    different = holm([min(1.0, 2 * min(_above(0.0, one), _above(0.0, _mirrored(one)))) for one in known])
    judged = iter([Judged(*row) for row in zip(known, equivalent, different, strict=True)])
    return [next(judged) if one is not None and one.std is not None else None for one in differences]


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for their number: the probability that any verdict of the family is false stays at a level."""
    adjusted, least = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        least = max(least, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = least
    return adjusted


def _standard_error(of: Spread) -> float:
    return (of.std or 0.0) / math.sqrt(of.count)


def _above(bound: float, of: Spread) -> float:
    """The p value of the one-sided test that the true mean is above the bound."""
    from scipy.special import stdtr  # takes a tenth of a second to import

    error = _standard_error(of)
    if error == 0.0:  # a few accuracies of so many images are equal by chance: their deviation is not known
        return 1.0
    return float(stdtr(of.count - 1, (bound - of.mean) / error))


def _mirrored(of: Spread) -> Spread:
    return Spread(-of.mean, of.std, of.count)


@functools.cache
def student_t(freedom: int, confidence: float = CONFIDENCE) -> float:
    """The t within which Student's distribution with so many degrees of freedom has this share of its probability."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))
