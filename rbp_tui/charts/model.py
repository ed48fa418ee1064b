"""The state of a chart without its widget: curves, view, cursor and scales."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rbp_tui.charts.axis import Axis
from rbp_tui.charts.series import ChartCurve, Series, XMark
from rbp_tui.charts.y_range import YRange, y_range

_ROUNDING = 1e-6  # share of an axis, too small to see


class ChartModel:
    """Curves and the state of their view. Scales are plain attributes; the rest changes through methods."""

    def __init__(self) -> None:
        self.curves: list[ChartCurve] = []
        self.marks: Sequence[XMark] = ()
        self._view: tuple[float, float] | None = None
        self.cursor: float | None = None
        self.x_log = False
        self.everything = False  # no value is left out of the y axis
        self.from_zero = False  # a small change of a large value is none to see
        self._y_log = False
        self._smoothing = 0.0

    def set_series(self, series: Sequence[Series]) -> bool:
        """Replace the curves; returns whether any differ. Curves that stay the same are not computed again."""
        old = {curve.series.key: curve for curve in self.curves}
        curves = []
        for one in series:
            known = old.get(one.key)
            curves.append(known if known and known.series.same(one) else self._curve(one, known))
        changed = [id(curve) for curve in curves] != [id(curve) for curve in self.curves]
        self.curves = curves
        return changed

    def _curve(self, series: Series, before: ChartCurve | None = None) -> ChartCurve:
        return ChartCurve(series, self._smoothing, log=self._y_log, whole=self._view is not None, before=before)

    def smooth(self, smoothing: float) -> None:
        """Smooth all curves, 0 to leave them as they are."""
        self._smoothing = smoothing
        self.curves = [self._curve(curve.series) for curve in self.curves]

    @property
    def view(self) -> tuple[float, float] | None:
        """The part of x that is shown, in which curves have all their points; None for everything."""
        return self._view

    @view.setter
    def view(self, view: tuple[float, float] | None) -> None:
        seen, self._view = self._view, view
        if (seen is None) != (view is None):
            self.smooth(self._smoothing)

    @property
    def y_log(self) -> bool:
        """Whether the y axis is logarithmic, which also changes how curves are smoothed."""
        return self._y_log

    @y_log.setter
    def y_log(self, log: bool) -> None:
        if log != self._y_log:
            self._y_log = log
            self.smooth(self._smoothing)

    def all_x(self) -> Axis | None:
        """The x axis that shows everything; None without data."""
        spans = [span for curve in self.curves if (span := curve.span(log=self.x_log))]
        if not spans:
            return None
        return Axis.spanning(min(low for low, _ in spans), max(high for _, high in spans), log=self.x_log)

    def x_axis(self) -> Axis | None:
        """The x axis that is shown; None without data."""
        whole = self.all_x()
        if whole is None or self.view is None or (self.x_log and self.view[0] <= 0):
            return whole
        return Axis(*self.view, log=self.x_log)

    def y_range(self, x_axis: Axis) -> YRange | None:
        """The y values that are shown, those of the view; None if there is nothing to show."""
        found = y_range(self.curves, x_axis, log=self.y_log, everything=self.everything)
        return found if found is None or not self.from_zero else replace(found, low=min(0.0, found.low))

    def zoom(self, factor: float, around: float | None = None) -> bool:
        """Show `factor` times as much of x around the value at position `around` (0..1).

        The default is the cursor, or the middle. Returns whether the view has changed.
        """
        axis = self.x_axis()
        if axis is None:
            return False
        if around is None:
            place = 0.5 if self.cursor is None else axis.position(self.cursor)
            around = place if 0.0 <= place <= 1.0 else 0.5
        return self._show(axis.zoomed(factor, around))

    def pan(self, share: float) -> bool:
        """Move the view by a share of its length; returns whether the view has changed."""
        axis, whole = self.x_axis(), self.all_x()
        return axis is not None and whole is not None and self._show(axis.panned(share, whole))

    def _show(self, axis: Axis) -> bool:
        whole = self.all_x()
        shown = axis.clipped(whole) if whole else None
        if whole is None or shown is None:
            return False
        before = self.view
        everything = whole.position(shown.low) < _ROUNDING and whole.position(shown.high) > 1 - _ROUNDING
        self.view = None if everything else (shown.low, shown.high)
        return self.view != before

    def reset(self) -> tuple[bool, bool]:
        """Show all of x and remove the cursor; returns whether the view and whether the cursor has changed."""
        changed = self.view is not None, self.cursor is not None
        self.view = self.cursor = None
        return changed

    def put_cursor(self, position: float) -> bool:
        """Put the cursor on the point nearest to a position (0..1) of the view; returns whether it has moved."""
        axis = self.x_axis()
        places = self._places(axis)
        if axis is None or not len(places):
            return False
        return self._move_cursor(float(places[np.abs(axis.positions(places) - position).argmin()]))

    def step_cursor(self, direction: int, cell: float) -> bool:
        """Move the cursor to the next point at least one cell (a share of the view) away, from the newest at first."""
        axis = self.x_axis()
        places = self._places(axis)
        if axis is None or not len(places):
            return False
        if self.cursor is None:
            return self._move_cursor(float(places.max()))
        on = (axis.positions(places) - axis.position(self.cursor)) * direction
        # A point that is exactly a cell away must count.
        further = on[on >= cell - _ROUNDING]
        target = further.min() if len(further) else on.max()
        return bool(target > 0) and self._move_cursor(float(places[np.flatnonzero(on == target)[0]]))

    def _places(self, axis: Axis | None) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """The x of the curves' points in the view."""
        if axis is None or not self.curves:
            return np.empty(0)
        places = np.concatenate([curve.x[curve.known] for curve in self.curves])
        return places[(places >= axis.low) & (places <= axis.high)]

    def _move_cursor(self, x: float) -> bool:
        moved = x != self.cursor
        self.cursor = x
        return moved
