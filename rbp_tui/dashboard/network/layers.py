"""A table of layers with charts of the selected one: what most tabs are made of."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container

from rbp_tui.charts.layer_rows import LayerRows
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.charts.layer_table import LayerTable
from rbp_tui.dashboard.text_line import Line


class LayersAndCharts(Container):
    """The caption of a table, the table, and below it one chart or two beside each other.

    A tab handles `LayerTable.RowHighlighted` to draw the charts of another layer.
    """

    def __init__(self, *charts: str) -> None:
        """`charts` are the titles of the charts."""
        super().__init__()
        self.caption = Line()
        self.table = LayerTable()
        self.charts = [CurveChart(title) for title in charts]

    def compose(self) -> ComposeResult:
        yield self.caption
        yield self.table
        yield Container(*self.charts)

    def show(self, rows: LayerRows) -> None:
        """Show these rows in the table."""
        self.caption.show_text(Text.assemble((f" {rows.title}", "bold"), (f"  {rows.note}", "dim")))
        self.table.show(rows)
