"""The part of the number line that a chart shows, linear or logarithmic."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

# Neighbouring floats cannot be told apart, so no axis gets narrower than this share of its values.
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
        """An axis that shows `low` to `high`, widened where they are (nearly) the same value."""
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
        """Where values lie: 0 at `low`, 1 at `high`. Not finite for what a log axis cannot show."""
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.log(values) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))

    def values(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `positions`."""
        if not self.log:
            return self.low + positions * (self.high - self.low)
        # Beyond the largest float is infinitely far, which is where a zoom out of there may look before it is clipped.
        with np.errstate(over="ignore"):
            return np.exp(math.log(self.low) + positions * (math.log(self.high) - math.log(self.low)))

    def position(self, value: float) -> float:
        """`positions` of one value."""
        return float(self.positions(np.array([value]))[0])

    def value(self, position: float) -> float:
        """`values` of one position."""
        return float(self.values(np.array([position]))[0])

    def cell(self, value: float, cells: int, dots: int) -> int | None:
        """Which of `cells`, each `dots` wide, shows a value; none outside the axis."""
        position = self.position(value)
        return round(position * (cells * dots - 1)) // dots if 0.0 <= position <= 1.0 else None

    def zoomed(self, factor: float, around: float) -> "Axis":
        """The axis `factor` times as long, the value at position `around` kept in its place."""
        low, high = (
            float(end) for end in self.values(np.array([around * (1 - factor), 1 - (1 - around) * (1 - factor)]))
        )
        return self if factor < 1 and _too_narrow(low, high) else Axis(low, high, self.log)

    def panned(self, share: float, inside: "Axis") -> "Axis":
        """Moved by a share of its length, stopping at the ends of `inside`."""
        first, last = (float(end) for end in self.positions(np.array([inside.low, inside.high])))
        # A view that reaches past an end already may stay, but moves no further out.
        share = min(max(share, min(first, 0.0)), max(last - 1.0, 0.0))
        low, high = (float(end) for end in self.values(np.array([share, 1.0 + share])))
        return Axis(low, high, self.log)

    def clipped(self, outer: "Axis") -> "Axis | None":
        """What of the axis lies on `outer`; none where they do not meet."""
        low, high = max(self.low, outer.low), min(self.high, outer.high)
        return Axis(low, high, self.log) if low < high else None
