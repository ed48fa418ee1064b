"""The charts of a run for the live view.

Apart, because numpy takes long to import.
"""

from itertools import zip_longest

from rich.segment import Segment, SegmentLines
from rich.style import Style

from rbp_engine.run.history.history import History
from rbp_tui.charts.frame import Options, draw
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


def charts(history: History, width: int, height: int, *, beside: bool) -> SegmentLines:
    """Loss and accuracy over the epochs in `width` cells, each `height` rows high: `beside` or above each other."""
    each = (width - 2) // 2 if beside else width
    drawn = []
    for title, lines, scale in (("loss", LOSS, 1.0), ("top-1 %", TOP1, 100.0)):
        model = ChartModel()
        model.y_log = lines is LOSS
        model.set_series(series_of(history, lines, "epoch", scale))
        drawn.append(draw(model, Options(title, "epoch", 0.0), LOOK, each, height)[1])
    if not beside:
        return SegmentLines([row for rows in drawn for row in rows], new_lines=True)
    gap = [Segment("  ")]
    return SegmentLines([[*left, *gap, *right] for left, right in zip_longest(*drawn, fillvalue=[])], new_lines=True)
