"""A curve as passed by callers, and as drawn by the chart."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rbp_tui.charts.smoothing import look_back, smoothed

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """Values `y` over `x`. Do not change the arrays in place once a chart has them."""

    key: str  # selects the colour
    label: str
    x: Floats
    y: Floats
    band: tuple[Floats, Floats] | None = None  # lower and upper edge, for instance over seeds
    marker: Literal["lowest", "highest"] | None = None  # which value is best and gets a star
    points: bool = False  # draw a sign at each value instead of a line, and do not smooth

    def __post_init__(self) -> None:
        """Raise ValueError unless all arrays are one-dimensional and equally long."""
        lengths = {array.shape for array in (self.x, self.y, *(self.band or ()))}
        if len(lengths) > 1 or self.x.ndim != 1:
            raise ValueError(f"series {self.key!r}: x, y and band need one equal length, not {sorted(lengths)}")

    def same(self, other: "Series") -> bool:
        """Whether two series look the same."""
        mine, theirs = (self.x, self.y, *(self.band or ())), (other.x, other.y, *(other.band or ()))
        return (
            (self.key, self.label, self.marker, self.points) == (other.key, other.label, other.marker, other.points)
            and len(mine) == len(theirs)
            and all(a is b or np.array_equal(a, b, equal_nan=True) for a, b in zip(mine, theirs, strict=True))
        )


class ChartCurve:
    """A series sorted by x, with its smoothed line, the band around it, and its best point."""

    def __init__(self, series: Series, smoothing: float) -> None:
        self.series = series
        self.smoothing = 0.0 if series.points else smoothing
        placed = np.isfinite(series.x)
        self._order: NDArray[np.intp] | None = None
        # The usual case needs no copy: x is finite and ascending already.
        if not placed.all() or (np.diff(series.x) < 0).any():
            kept = np.flatnonzero(placed)
            self._order = kept[np.argsort(series.x[kept], kind="stable")]
        self.x = self._sorted(series.x)
        self.y = self._sorted(series.y)

    def _sorted(self, values: Floats) -> Floats:
        values = np.asarray(values, dtype=np.float64)
        return values if self._order is None else values[self._order]

    @cached_property
    def line(self) -> Floats:
        """The smoothed y, as drawn."""
        return smoothed(self.x, self.y, self.smoothing)

    @cached_property
    def band(self) -> tuple[Floats, Floats] | None:
        """The edges of the series' own band, smoothed like the line."""
        if self.series.band is None:
            return None
        low, high = (smoothed(self.x, self._sorted(edge), self.smoothing) for edge in self.series.band)
        return low, high

    @cached_property
    def look_back(self) -> float:
        """How far back the band at a point reaches, which shows the extremes that smoothing hides; 0 for no such band.

        A series with its own band shows that one instead.
        """
        return 0.0 if self.series.band is not None else look_back(self.x, self.smoothing)

    @cached_property
    def best(self) -> int | None:
        """Index of the best unsmoothed value, the first of several."""
        if self.series.marker is None or not len(self.known):
            return None
        values = self.y[self.known]
        return int(self.known[values.argmin() if self.series.marker == "lowest" else values.argmax()])

    @cached_property
    def known(self) -> NDArray[np.intp]:
        """Indices of the points that have a value."""
        return np.flatnonzero(np.isfinite(self.y))

    def nearest(self, x: float) -> int | None:
        """Index of the point with a value that is nearest to `x`."""
        if not len(self.known):
            return None
        return int(self.known[np.abs(self.x[self.known] - x).argmin()])

    def span(self, *, log: bool) -> tuple[float, float] | None:
        """The first and last x that has a value; with `log`, of those above 0."""
        places = self.x[self.known]
        if log:
            places = places[np.searchsorted(places, 0.0, side="right") :]
        return (float(places[0]), float(places[-1])) if len(places) else None
