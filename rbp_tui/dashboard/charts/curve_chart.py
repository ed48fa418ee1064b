"""Curves over steps, epochs or time, read with keys and mouse."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from rbp_tui.charts.frame import ChartLayout, Options, draw
from rbp_tui.charts.model import ChartModel
from rbp_tui.charts.palette import SeriesColours
from rbp_tui.charts.series import Series, XMark
from rbp_tui.charts.ticks import XUnit
from rbp_tui.dashboard.charts.look import COMPONENTS, CSS, look
from rbp_tui.dashboard.charts.messages import CursorMoved, ViewChanged

SMOOTHINGS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99)
ZOOM, PAN = 0.8, 0.2  # of the length of the x axis, per key or turn of the wheel


class CurveChart(Widget, can_focus=True):
    """A chart of one or more curves. `set_series` sets its data; keys, mouse and attributes change the view.

    With `smoothing` above 0 each curve is an exponential average, on a log axis of the logarithms, over its single
    values drawn fainter, and its values are shown with a `~`; the star stays at the best unsmoothed value.

    A few values that would flatten the rest are left out and marked at the edge; `0` shows all of them.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = set(COMPONENTS)
    DEFAULT_CSS = CSS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, action, description, show=False, id=f"chart.{name}")
        for name, key, action, description in (
            ("zoom_in", "+,=", f"zoom({ZOOM})", "Zoom in"),
            ("zoom_out", "-", f"zoom({1 / ZOOM})", "Zoom out"),
            ("pan_left", "shift+left", f"pan({-PAN})", "Pan left"),
            ("pan_right", "shift+right", f"pan({PAN})", "Pan right"),
            ("reset", "0", "reset_view", "Show all of x, then y with or without outliers"),
            ("log_y", "l", "toggle('y_log')", "Log y"),
            ("log_x", "L", "toggle('x_log')", "Log x"),
            ("smooth_less", "[", "smooth_less", "Smooth less"),
            ("smooth_more", "]", "smooth_more", "Smooth more"),
            ("cursor_left", "left", "step_cursor(-1)", "Cursor left"),
            ("cursor_right", "right", "step_cursor(1)", "Cursor right"),
        )
    ]

    title: reactive[str] = reactive("")
    x_axis: reactive[XUnit] = reactive[XUnit]("step", init=False)
    x_log: reactive[bool] = reactive(False)
    y_log: reactive[bool] = reactive(False)
    smoothing: reactive[float] = reactive(0.0)
    dimmed: reactive[bool] = reactive(False)

    def __init__(
        self,
        title: str = "",
        *,
        colours: SeriesColours | None = None,
        id: str | None = None,  # noqa: A002  Textual's name
    ) -> None:
        """Charts that share `colours` use the same ones."""
        super().__init__(id=id)
        self._colours = colours or SeriesColours()
        self._model = ChartModel()
        self._strips: list[Strip] = []
        self._layout: ChartLayout | None = None
        # What `_strips` were drawn for; None if something else has changed since.
        self._drawn: tuple[Size, Options, bool, bool, bool] | None = None
        self.set_reactive(CurveChart.title, title)

    # What the chart shows

    def set_series(self, series: Sequence[Series]) -> None:
        """Show these series, later ones over earlier ones. The view, the cursor and the colours of keys stay."""
        for one in series:
            self._colours.index(one.key)
        if self._model.set_series(series):
            self._redraw()

    def set_marks(self, marks: Sequence[XMark]) -> None:
        """Mark these places on the x axis."""
        if tuple(marks) != tuple(self._model.marks):
            self._model.marks = tuple(marks)
            self._redraw()

    @property
    def series(self) -> list[Series]:
        """What is shown, unsmoothed."""
        return [curve.series for curve in self._model.curves]

    def set_cursor(self, x: float | None) -> None:
        """Put the cursor at `x`, or remove it, without a message."""
        if x != self._model.cursor:
            self._model.cursor = x
            self._redraw()

    def set_view(self, x_min: float | None, x_max: float | None = None) -> None:
        """Show `x_min` to `x_max`, or everything, without a message."""
        view = None if x_min is None or x_max is None or x_min >= x_max else (x_min, x_max)
        if view != self._model.view:
            self._model.view = view
            self._redraw()

    @property
    def cursor(self) -> float | None:
        """The x of the cursor; None without one."""
        return self._model.cursor

    @property
    def view(self) -> tuple[float, float] | None:
        """The zoomed part of the x axis; None while everything is shown."""
        return self._model.view

    def watch_x_axis(self) -> None:
        """Reset the view: positions in the old unit mean nothing in the new one."""
        self._model.reset()
        self._model.marks = ()

    def watch_x_log(self, log: bool) -> None:
        self._model.x_log = log

    def watch_y_log(self, log: bool) -> None:
        self._model.y_log = log

    def validate_smoothing(self, smoothing: float) -> float:
        """From 0 to 0.99."""
        return min(max(smoothing, 0.0), SMOOTHINGS[-1])

    def watch_smoothing(self, smoothing: float) -> None:
        self._model.smooth(smoothing)

    # Drawing

    def _redraw(self) -> None:
        self._drawn = None
        self.refresh()

    def notify_style_update(self) -> None:
        """Redraw with the current styles and theme."""
        super().notify_style_update()
        self._drawn = None

    def render_line(self, y: int) -> Strip:
        """A row of the chart. All rows are drawn together after any change."""
        options = Options(self.title, self.x_axis, self.smoothing)
        state = (self.size, options, self.x_log, self.y_log, self.dimmed)
        if self._drawn != state:
            styles = look(self, [curve.series for curve in self._model.curves], self._colours, dimmed=self.dimmed)
            self._layout, rows = draw(self._model, options, styles, *self.size)
            self._strips = [Strip(row, self.size.width) for row in rows]
            self._drawn = state
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    # Keys

    def _changed(self, *, view: bool = False, cursor: bool = False) -> None:
        if view:
            self.post_message(ViewChanged(self, self._model.view))
        if cursor:
            self.post_message(CursorMoved(self, self._model.cursor))
        if view or cursor:
            self._redraw()

    def action_zoom(self, factor: float) -> None:
        """Show `factor` times as much of x, around the cursor."""
        self._changed(view=self._model.zoom(factor))

    def action_pan(self, share: float) -> None:
        """Show what comes after, by a share of the view; below 0 what comes before."""
        self._changed(view=self._model.pan(share))

    def action_reset_view(self) -> None:
        """Show everything and take the cursor away; if it is so already, leave out of y what would flatten the rest."""
        view, cursor = self._model.reset()
        self._model.everything = not self._model.everything or view or cursor
        self._changed(view=view, cursor=cursor)
        self._redraw()

    def action_smooth_more(self) -> None:
        """The next stronger smoothing."""
        self.smoothing = next((one for one in SMOOTHINGS if one > self.smoothing), SMOOTHINGS[-1])

    def action_smooth_less(self) -> None:
        """The next weaker smoothing."""
        self.smoothing = next((one for one in reversed(SMOOTHINGS) if one < self.smoothing), 0.0)

    def action_step_cursor(self, direction: int) -> None:
        """The cursor to the point after (1) or before (-1)."""
        self._changed(cursor=self._model.step_cursor(direction, self._cell()))

    # Mouse

    def _cell(self) -> float:
        """The share of the view that one cell shows."""
        return 1.0 / max(1, self._layout.columns if self._layout else self.size.width)

    def _position(self, event: events.MouseEvent) -> float:
        """The position of the pointer on the x axis, 0..1."""
        gutter = self._layout.gutter if self._layout else 0
        cell = event.get_content_offset_capture(self).x - gutter
        return min(max((cell + 0.5) * self._cell(), 0.0), 1.0)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in around the pointer."""
        event.stop()
        self._changed(view=self._model.zoom(ZOOM, self._position(event)))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out around the pointer."""
        event.stop()
        self._changed(view=self._model.zoom(1 / ZOOM, self._position(event)))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor at the pointer; a double click shows everything."""
        if event.chain == 2:
            self.action_reset_view()
        elif event.chain == 1:
            self._changed(cursor=self._model.put_cursor(self._position(event)))
