"""A table of layers with a chart of the selected one: what most tabs are made of."""

from textual.app import ComposeResult
from textual.containers import Container

from rbp_tui.charts.layer_rows import LayerRows
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.charts.layer_table import HEAD, LayerTable

WIDE = 130
MOST_ABOVE = 0.55  # of the height


class LayersAndChart(Container):
    """The chart is below the table, or beside it where there are many layers and there is room.

    A tab handles `LayerTable.Chosen` to draw the chart of another layer.
    """

    def __init__(self, chart: str) -> None:
        """`chart` is the title of the chart."""
        super().__init__()
        self.table = LayerTable()
        self.chart = CurveChart(chart)

    def compose(self) -> ComposeResult:
        yield self.table
        yield self.chart

    def show(self, rows: LayerRows) -> None:
        """Show these rows in the table."""
        self.table.show(rows)
        self._place()

    def on_resize(self) -> None:
        self._place()

    def _place(self) -> None:
        many = len(self.table.rows) + HEAD > MOST_ABOVE * self.size.height
        self.set_class(many and self.size.width >= WIDE, "-beside")
