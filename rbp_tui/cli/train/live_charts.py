"""The charts of a run for the live view.

Apart, because numpy takes long to import.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from rbp_engine.run.status.history import History
from rbp_tui.charts.frame import Options, Row, draw
from rbp_tui.charts.look import Look
from rbp_tui.charts.model import ChartModel
from rbp_tui.charts.run_curves import LOSS, TOP1, series_of

# Colours of the terminal's own, which suit its background, with a stroke each.
INKS = (Style(color="cyan"), Style(color="yellow"))
LOOK = Look(
    base=Style(),
    title=Style(bold=True),
    label=Style(dim=True),
    axis=Style(dim=True),
    grid=Style(dim=True),
    mark=Style(dim=True),
    cursor=Style(),
    star=Style(bold=True),
    curves=INKS,
    dims=[ink + Style(dim=True) for ink in INKS],
    strokes=[0, 1],
)


@dataclass(frozen=True)
class DrawnRows:
    """Rows of segments, as Rich prints them."""

    rows: Sequence[Row]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for row in self.rows:
            yield from row
            yield Segment.line()


def charts(history: History, width: int, height: int, *, beside: bool) -> DrawnRows:
    """Loss and accuracy over the epochs in `width` cells, each `height` rows high: `beside` or above each other."""
    each = (width - 2) // 2 if beside else width
    drawn = []
    for title, lines, scale in (("loss", LOSS, 1.0), ("top-1 %", TOP1, 100.0)):
        model = ChartModel()
        model.y_log = lines is LOSS
        model.set_series(series_of(history, lines, "epoch", scale))
        drawn.append(draw(model, Options(title, "epoch", 0.0), LOOK, each, height)[1])
    if not beside:
        return DrawnRows([row for rows in drawn for row in rows])
    gap = [Segment("  ")]
    return DrawnRows([[*left, *gap, *right] for left, right in zip_longest(*drawn, fillvalue=[])])
