"""The part of the number line that a chart shows, linear or logarithmic."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

# Neighbouring floats cannot be distinguished, so no axis gets narrower than this share of its values.
_NARROWEST = 1e-9
# An axis stays clear of the largest and smallest floats, whose differences and quotients are not finite.
_LARGEST, _SMALLEST = 1e300, 1e-250


def _too_narrow(low: float, high: float) -> bool:
    return high - low <= max(_NARROWEST * max(abs(low), abs(high)), _SMALLEST)


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, with `low < high`; both above 0 on a log axis."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def spanning(cls, low: float, high: float, *, log: bool = False) -> Self:
        """An axis that shows `low` to `high`, widened if they are (nearly) the same value."""
        least = _SMALLEST if log else -_LARGEST
        low, high = (min(max(end, least), _LARGEST) for end in (low, high))
        if not _too_narrow(low, high):
            return cls(low, high, log)
        if log:
            return cls(low / 1.5, high * 1.5, log)
        room = 0.1 * max(abs(low), abs(high))
        if room <= _SMALLEST:
            room = 1.0
        return cls(low - room, high + room, log)

    def positions(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The positions of values: 0 at `low`, 1 at `high`; not finite for values that a log axis cannot show."""
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.log(values) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))

    def values(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `positions`."""
        if not self.log:
            return self.low + positions * (self.high - self.low)
        # Values beyond the largest float are infinite; a zoom out may reach them before it is clipped.
        with np.errstate(over="ignore"):
            return np.exp(math.log(self.low) + positions * (math.log(self.high) - math.log(self.low)))

    def position(self, value: float) -> float:
        """`positions` of one value."""
        return float(self.positions(np.array([value]))[0])

    def value(self, position: float) -> float:
        """`values` of one position."""
        return float(self.values(np.array([position]))[0])

    def cell(self, value: float, cells: int, dots: int) -> int | None:
        """Which of `cells`, each `dots` wide, shows a value; None outside the axis."""
        position = self.position(value)
        return round(position * (cells * dots - 1)) // dots if 0.0 <= position <= 1.0 else None

    def zoomed(self, factor: float, around: float) -> "Axis":
        """The axis scaled by `factor` in length around the value at position `around`."""
        low, high = (
            float(end) for end in self.values(np.array([around * (1 - factor), 1 - (1 - around) * (1 - factor)]))
        )
        return self if factor < 1 and _too_narrow(low, high) else Axis(low, high, self.log)

    def panned(self, share: float, inside: "Axis") -> "Axis":
        """The axis moved by a share of its length, but not past the ends of `inside`."""
        first, last = (float(end) for end in self.positions(np.array([inside.low, inside.high])))
        # A view that is already past an end may stay, but moves no further out.
        share = min(max(share, min(first, 0.0)), max(last - 1.0, 0.0))
        low, high = (float(end) for end in self.values(np.array([share, 1.0 + share])))
        return Axis(low, high, self.log)

    def clipped(self, outer: "Axis") -> "Axis | None":
        """The part of the axis that lies on `outer`; None if they do not overlap."""
        low, high = max(self.low, outer.low), min(self.high, outer.high)
        return Axis(low, high, self.log) if low < high else None
