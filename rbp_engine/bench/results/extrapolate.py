"""Extrapolate a few small measurements to the whole batch and all timesteps, and find what fits in memory.

Time and memory of a training step are close to fixed + B · (image + T · step): a fixed part (weights, the interpreter),
a part for each image of the batch, and a part for each image at every timestep.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plane:
    """fixed + batch · (image + timesteps · step); no coefficient is negative."""

    fixed: float
    image: float
    step: float

    def at(self, batch: int, timesteps: int) -> float:
        return self.fixed + batch * (self.image + timesteps * self.step)

    def largest_timesteps(self, batch: int, limit: float) -> int | None:
        """The largest T that fits in the limit with this batch: 0 if not even T = 1 does, None if every T does."""
        return _largest(self.fixed + batch * self.image, batch * self.step, limit)

    def largest_batch(self, timesteps: int, limit: float) -> int | None:
        """The largest batch that fits in the limit at this T: 0 if not even one image does, None if any batch does."""
        return _largest(self.fixed, self.image + timesteps * self.step, limit)


def _largest(start: float, each: float, limit: float) -> int | None:
    """The largest n ≥ 0 with start + n · each ≤ limit."""
    if each <= 0:
        return None if start <= limit else 0
    return max(0, int((limit - start) / each))


def through(measured: Mapping[tuple[int, int], float]) -> Plane:
    """The plane through values at (batch, timesteps): at the largest of both, at a smaller batch, and at a smaller T.

    A smaller one may be missing if that value cannot be smaller. A coefficient that noise would make negative is 0; the
    plane always goes through the largest point, since that is nearest to the values to predict.
    """
    (batch, timesteps), largest = max(measured.items())
    step = max(0.0, _slope({t: value / b for (b, t), value in measured.items() if b == batch}))
    each = max(step * timesteps, _slope({b: value for (b, t), value in measured.items() if t == timesteps}))
    fixed = largest - batch * each
    if fixed < 0:  # the cost per image falls with the batch; assuming it proportional errs on the safe side
        fixed, each, step = 0.0, largest / batch, step * largest / (batch * each)
    return Plane(fixed, each - timesteps * step, step)


def plane_of(points: Iterable[Mapping[str, Any]], what: str) -> Plane:
    """The plane through the values called `what` of points from a process, each with its batch and timesteps."""
    return through({(point["batch"], point["timesteps"]): point[what] for point in points})


def _slope(values: Mapping[int, float]) -> float:
    """The slope from the smallest to the largest key; 0 for a single one."""
    first, last = min(values), max(values)
    return (values[last] - values[first]) / (last - first) if last > first else 0.0
