"""What a chart tells its screen, so that charts can move together."""

from textual.message import Message
from textual.widget import Widget


class ChartMessage(Message):
    """A message of a chart. Only its newest of a kind matters, so it takes the place of one that still waits."""

    def __init__(self, chart: Widget) -> None:
        super().__init__()
        self.chart = chart

    @property
    def control(self) -> Widget:
        """The chart, for `@on` with a selector."""
        return self.chart

    def can_replace(self, message: Message) -> bool:
        """Whether `message` says the same of the same chart."""
        return type(message) is type(self) and getattr(message, "chart", None) is self.chart


class CursorMoved(ChartMessage, namespace="curve_chart"):
    """The user has moved the cursor to `x`; none took it away."""

    def __init__(self, chart: Widget, x: float | None) -> None:
        super().__init__(chart)
        self.x = x


class ViewChanged(ChartMessage, namespace="curve_chart"):
    """The user has zoomed or panned to `x_range`; none shows everything."""

    def __init__(self, chart: Widget, x_range: tuple[float, float] | None) -> None:
        super().__init__(chart)
        self.x_range = x_range
