"""Messages of a chart to its screen, so that charts can move together."""

from dataclasses import dataclass

from textual.message import Message
from textual.widget import Widget


@dataclass
class ChartMessage(Message):
    """A message of a chart. Only the newest of a kind matters, so it replaces a pending one."""

    chart: Widget

    def can_replace(self, message: Message) -> bool:
        """Whether `message` is of the same kind and chart."""
        return isinstance(message, ChartMessage) and type(message) is type(self) and message.chart is self.chart


@dataclass
class CursorMoved(ChartMessage, namespace="curve_chart"):
    """The user has moved the cursor to `x`; None means removed."""

    x: float | None


@dataclass
class ViewChanged(ChartMessage, namespace="curve_chart"):
    """The user has zoomed or panned to `x_range`; None shows everything."""

    x_range: tuple[float, float] | None
