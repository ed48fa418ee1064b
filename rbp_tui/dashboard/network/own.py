"""The tab "Own": what the user's own function logs, by name, now and over training."""

from collections.abc import Iterable

import numpy as np
from textual import on
from textual.widget import Widget

from rbp_engine.run.status.samples import Floats, OwnHistory
from rbp_tui.charts.layer_rows import LayerRows, Sparks, Words
from rbp_tui.charts.series import Series
from rbp_tui.dashboard.charts.layer_table import LayerTable
from rbp_tui.dashboard.network.layers import LayersAndChart
from rbp_tui.dashboard.network.tab import NetworkTab, sample_at, x_axis_of, x_of
from rbp_tui.dashboard.reading.reader import Sight

NOTHING = (
    "This run has no metrics of your own.\n"
    'Launch it again with probes.own = "mine.py:measure",\n'
    "a function measure(run, model) that calls run.log(name, value).\n"
    "docs/inside-the-network.md has an example."
)


class OwnTab(NetworkTab):
    """A row for each metric; the selected one over training."""

    TITLE = "Own"

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[OwnHistory, int] | None = None  # the history and the number of the sample

    def panes(self) -> Iterable[Widget]:
        yield LayersAndChart("")

    def steps(self, sight: Sight) -> Floats:
        return sight.history.own.step if sight.history.own is not None else np.empty(0)

    def show(self, sight: Sight | None, step: float | None) -> None:
        own = sight.history.own if sight is not None else None
        self.say_nothing_yet(_why_nothing(sight) if own is None else "")
        if own is None:
            self._shown = None
            return
        number = sample_at(own, step) % len(own.step)
        if self._shown is not None and self._shown[0] is own and self._shown[1] == number:
            return
        new = self._shown is None or self._shown[0] is not own
        self._shown = own, number
        self.query_one(LayersAndChart).show(metric_rows(own, number))
        if new:
            self._show_chart()

    @on(LayerTable.Chosen)
    def _show_chart(self) -> None:
        """Draw the selected metric, where it was logged."""
        if self._shown is None:
            return
        own, pane = self._shown[0], self.query_one(LayersAndChart)
        values = own.values[:, pane.table.selected]
        known = np.isfinite(values)
        pane.chart.x_axis = x_axis_of(own)
        pane.chart.title = own.names[pane.table.selected]
        pane.chart.set_series([Series("metric", pane.chart.title, x_of(own)[known], values[known])])


def metric_rows(own: OwnHistory, number: int) -> LayerRows:
    """The metrics at one sample; one that was not logged then has the value that it had before."""
    columns = [column[np.isfinite(column)] for column in own.values.T]
    until = [column[np.isfinite(column)] for column in own.values[: number + 1].T]
    return LayerRows(
        "your metrics",
        own.names,
        [
            Words("value", [_number(values[-1:]) for values in until]),
            Words("lowest", [_number(np.sort(values)[:1]) for values in columns], rank=1),
            Words("highest", [_number(np.sort(values)[-1:]) for values in columns], rank=2),
            Sparks("over training", own.values, rank=3),
        ],
        heading="metric",
    )


def _why_nothing(sight: Sight | None) -> str:
    if sight is None:
        return "reading…"
    if sight.verdict.live:
        return "no value yet. What the function of probes.own logs is here after train.log_every steps."
    return NOTHING


def _number(values: Floats) -> str:
    return f"{values[0]:.4g}" if len(values) else "–"
