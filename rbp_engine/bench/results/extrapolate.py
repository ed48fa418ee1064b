"""From a few small measurements to the whole batch and all timesteps, and back: what fits into a memory.

Time and memory of a training step are close to fixed + B · (image + T · step): what every step has (weights, the
interpreter), what each image of the batch adds, and what each image adds at every timestep.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plane:
    """fixed + batch · (image + timesteps · step); nothing of it is negative."""

    fixed: float
    image: float
    step: float

    def at(self, batch: int, timesteps: int) -> float:
        return self.fixed + batch * (self.image + timesteps * self.step)

    def largest_timesteps(self, batch: int, limit: float) -> int | None:
        """The largest T within the limit for this batch: 0 if not even T = 1 is, None if every T is."""
        return _largest(self.fixed + batch * self.image, batch * self.step, limit)

    def largest_batch(self, timesteps: int, limit: float) -> int | None:
        """The largest batch within the limit at T timesteps: 0 if not even one image is, None if every batch is."""
        return _largest(self.fixed, self.image + timesteps * self.step, limit)


def _largest(start: float, each: float, limit: float) -> int | None:
    """The largest n ≥ 0 with start + n · each ≤ limit."""
    if each <= 0:
        return None if start <= limit else 0
    return max(0, int((limit - start) / each))


def through(measured: Mapping[tuple[int, int], float]) -> Plane:
    """The plane through values at (batch, timesteps): at the largest of both, at a smaller batch, and at a smaller T.

    One of the smaller ones may be left out where it cannot be smaller. Where noise would make a coefficient negative it
    is 0; the plane meets the largest value in any case, since that is nearest to what is asked for.
    """
    (batch, timesteps), largest = max(measured.items())
    step = max(0.0, _slope({t: value / b for (b, t), value in measured.items() if b == batch}))
    each = max(step * timesteps, _slope({b: value for (b, t), value in measured.items() if t == timesteps}))
    fixed = largest - batch * each
    if fixed < 0:  # then what an image costs falls with the batch, and proportion is the safe side of it
        fixed, each, step = 0.0, largest / batch, step * largest / (batch * each)
    return Plane(fixed, each - timesteps * step, step)


def plane_of(points: Iterable[Mapping[str, Any]], what: str) -> Plane:
    """The plane through one of the values of points that a process has told, each with its batch and timesteps."""
    return through({(point["batch"], point["timesteps"]): point[what] for point in points})


def _slope(values: Mapping[int, float]) -> float:
    """From the smallest to the largest key; 0 for a single one."""
    first, last = min(values), max(values)
    return (values[last] - values[first]) / (last - first) if last > first else 0.0
