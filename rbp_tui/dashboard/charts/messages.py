"""What a chart tells its screen, so that charts can move together."""

from dataclasses import dataclass

from textual.message import Message
from textual.widget import Widget


@dataclass
class ChartMessage(Message):
    """A message of a chart. Only its newest of a kind matters, so it takes the place of one that still waits."""

    chart: Widget

    def can_replace(self, message: Message) -> bool:
        """Whether `message` says the same of the same chart."""
        return isinstance(message, ChartMessage) and type(message) is type(self) and message.chart is self.chart


@dataclass
class CursorMoved(ChartMessage, namespace="curve_chart"):
    """The user has moved the cursor to `x`; none took it away."""

    x: float | None


@dataclass
class ViewChanged(ChartMessage, namespace="curve_chart"):
    """The user has zoomed or panned to `x_range`; none shows everything."""

    x_range: tuple[float, float] | None
