"""Mean and standard deviation over the seeds of an experiment."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The mean of `count` values and their sample standard deviation (n - 1), None for a single value."""

    mean: float
    std: float | None
    count: int


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
