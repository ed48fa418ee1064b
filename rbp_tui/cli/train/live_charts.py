"""The curves of a run for the live view: charts where there is room, lines of blocks of one length where there is none.

Apart, because numpy takes long to import.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
from rich.segment import Segment
from rich.style import Style

from rbp_engine.run.status.curves import Curve
from rbp_engine.run.status.history import History
from rbp_tui.charts.frame import Options, Row, draw
from rbp_tui.charts.look import Look
from rbp_tui.charts.model import ChartModel
from rbp_tui.charts.series import Series
from rbp_tui.text.format import sparkline

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

#: Curve, factor and label of the lines of each chart; that of the evaluations is completed by the split.
CHARTS = {
    "loss": (("train/loss", 1.0, "train"), ("validation/loss", 1.0, "")),
    "top-1 %": (("train/top1", 100.0, "train"), ("validation/top1", 100.0, "")),
}
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
    """DrawnRows of segments, as Rich prints them."""

    rows: Sequence[Row]

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        for row in self.rows:
            yield from row
            yield Segment.line()


def charts(history: History, width: int, height: int, *, beside: bool) -> DrawnRows:
    """Loss and accuracy over the epochs in `width` cells, each `height` rows high: `beside` or above each other."""
    each = (width - 2) // 2 if beside else width
    drawn = [_chart(history, title, each, height) for title in CHARTS]
    if not beside:
        return DrawnRows([row for rows in drawn for row in rows])
    gap = [Segment("  ")]
    return DrawnRows([[*left, *gap, *right] for left, right in zip_longest(*drawn, fillvalue=[])])


def _chart(history: History, title: str, width: int, height: int) -> list[Row]:
    model = ChartModel()
    model.y_log = title == "loss"
    model.set_series(
        [
            Series(
                name,
                label or history.split or "validation",
                curve.epoch,
                scale * curve.value,
                marker="highest" if name == "validation/top1" else None,
            )
            for name, scale, label in CHARTS[title]
            if (curve := history.curves.get(name)) is not None
        ]
    )
    options = Options(title, "epoch", 0.0)
    return draw(model, options, LOOK, width, height)[1]


def blocks(curve: Curve | None, end_s: float, width: int, *, log: bool = False, low: float | None = None) -> str:
    """A curve as `width` blocks over the seconds of training from 0 to `end_s`, scaled from `low` to its highest value.

    By default `low` is its lowest.

    A column without a point repeats the one before; those before the first point are blank.
    """
    known = np.flatnonzero(np.isfinite(curve.value)) if curve is not None else np.empty(0, int)
    if curve is None or not len(known) or width < 1:
        return " " * max(0, width)
    values = np.log(np.maximum(curve.value[known], 1e-12)) if log else curve.value[known]
    columns = np.clip(width * curve.seconds[known] / max(end_s, 1e-9), 0, width - 1).astype(int)
    sums, counts = np.bincount(columns, values, width), np.bincount(columns, minlength=width)
    newest = np.maximum.accumulate(np.where(counts > 0, np.arange(width), -1))
    means = (sums / np.maximum(counts, 1))[newest]
    return sparkline(
        [mean if at >= 0 else None for mean, at in zip(means.tolist(), newest, strict=True)], width, low=low
    )


def last_second(history: History) -> float:
    """The seconds of training that the curves of a run reach."""
    return max((float(curve.seconds[-1]) for curve in history.curves.values() if len(curve)), default=0.0)
