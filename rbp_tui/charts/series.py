"""A curve as passed by callers, and as drawn by the chart."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rbp_tui.charts.axis import Axis
from rbp_tui.charts.raster import Floats, showable
from rbp_tui.charts.smoothing import smoothed, smoothed_band
from rbp_tui.charts.thinning import Thinned, thinned


@dataclass(frozen=True)
class XMark:
    """A place on the x axis at which something has happened, in a word or two."""

    x: float
    text: str


@dataclass(frozen=True, eq=False)
class Series:
    """Values `y` over `x`, shown times `scale`. Do not change the arrays in place once a chart has them."""

    key: str  # selects the colour
    label: str
    x: Floats
    y: Floats
    scale: float = 1.0
    band: tuple[Floats, Floats] | None = None  # lower and upper edge, for instance over seeds
    marker: Literal["lowest", "highest"] | None = None  # which value is best and gets a star
    points: bool = False  # draw a sign at each value instead of a line, and do not smooth
    emphasis: bool = False  # drawn over the others

    def __post_init__(self) -> None:
        """Raise ValueError unless all arrays are one-dimensional and equally long."""
        lengths = {array.shape for array in (self.x, self.y, *(self.band or ()))}
        if len(lengths) > 1 or self.x.ndim != 1:
            raise ValueError(f"series {self.key!r}: x, y and band need one equal length, not {sorted(lengths)}")

    def same(self, other: "Series") -> bool:
        """Whether two series look the same."""
        mine, theirs = (self.x, self.y, *(self.band or ())), (other.x, other.y, *(other.band or ()))
        looks = [(one.key, one.label, one.scale, one.marker, one.points, one.emphasis) for one in (self, other)]
        return (
            looks[0] == looks[1]
            and len(mine) == len(theirs)
            and all(a is b or np.array_equal(a, b, equal_nan=True) for a, b in zip(mine, theirs, strict=True))
        )


class ChartCurve:
    """A series sorted by x, with what is drawn of it on a y axis that is `log` or not, and its best point.

    On a log axis, values of 0 or less are not drawn: they are NaN in `line`, `raw` and `band`. Unless it is `whole`, a
    long series is thinned to the points that show; what is known of its curve `before`, with fewer points, is kept.
    """

    def __init__(
        self,
        series: Series,
        smoothing: float,
        *,
        log: bool = False,
        whole: bool = True,
        before: "ChartCurve | None" = None,
    ) -> None:
        self.series = series
        self.smoothing = 0.0 if series.points else smoothing
        self._log = log
        self._order: NDArray[np.intp] | None = None
        self._thinned: Thinned | None = None
        if not whole and not series.points and series.band is None:
            self._thinned = thinned(series.x, series.y, self.smoothing, log, before._thinned if before else None)
        if self._thinned:
            self._order = self._thinned.points
        # The usual case needs no copy: x is finite and ascending already.
        elif not ((placed := np.isfinite(series.x)).all() and (np.diff(series.x) >= 0).all()):
            kept = np.flatnonzero(placed)
            self._order = kept[np.argsort(series.x[kept], kind="stable")]
        self.x = self._sorted(series.x)
        self.y = self._scaled(self._sorted(series.y))

    def _sorted(self, values: Floats) -> Floats:
        values = np.asarray(values, dtype=np.float64)
        return values if self._order is None else values[self._order]

    def _scaled(self, values: Floats) -> Floats:
        return values if self.series.scale == 1.0 else self.series.scale * values

    @cached_property
    def line(self) -> Floats:
        """The smoothed values."""
        if self._thinned:
            line = self._scaled(self._thinned.line)
        else:
            line = smoothed(self.x, self.y, self.smoothing, log=self._log)
        return showable(line, log=self._log)

    @cached_property
    def raw(self) -> Floats | None:
        """The values behind a smoothed line; None if the line shows them itself, or a band shows their spread."""
        if self.smoothing <= 0.0 or self.series.band is not None:
            return None
        return showable(self.y, log=self._log)

    @cached_property
    def band(self) -> tuple[Floats, Floats] | None:
        """The edges of the series' own band, smoothed like the line."""
        if self.series.band is None:
            return None
        edges = self._sorted(self.series.band[0]), self._sorted(self.series.band[1])
        low, high = smoothed_band(self.x, self.y, edges, self.smoothing, log=self._log)
        return showable(low, log=self._log), showable(high, log=self._log)

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

    def inside(self, x_axis: Axis) -> slice:
        """The points on the axis."""
        first, last = (
            np.searchsorted(self.x, x_axis.low, side="left"),
            np.searchsorted(self.x, x_axis.high, side="right"),
        )
        return slice(int(first), int(last))

    def nearest(self, x: float) -> int | None:
        """Index of the point with a value that is nearest to `x`."""
        if not len(self.known):
            return None
        return int(self.known[np.abs(self.x[self.known] - x).argmin()])

    def span(self, *, log: bool) -> tuple[float, float] | None:
        """The first and last x that has a value; with `log`, of those above 0."""
        known = self.known
        if log:
            known = known[np.searchsorted(self.x[known], 0.0, side="right") :]
        return (float(self.x[known[0]]), float(self.x[known[-1]])) if len(known) else None
