"""Mean and standard deviation over the seeds of an experiment, and how far the mean may be from the true one."""

import functools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CONFIDENCE = 0.95


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
    """The spread of the differences ours - theirs, each a value by seed, over the seeds that both know.

    Effects of the seed, such as the order of the data, cancel out. None without a common seed; one that is unknown, as
    another program's may be, is none.
    """
    known = [(value, theirs.get(seed)) for seed, value in ours.items() if seed is not None]
    return spread_of_known([one - other for one, other in known if one is not None and other is not None])


@functools.cache
def student_t(freedom: int) -> float:
    """The t within which Student's distribution with so many degrees of freedom has 95 % of its probability."""
    from scipy.special import stdtrit  # takes a tenth of a second to import

    return float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))
