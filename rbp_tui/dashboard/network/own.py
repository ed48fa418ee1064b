"""The tab "Own": what the user's own function logs, by name, now and over training."""

from collections.abc import Iterable

import numpy as np
from textual.widget import Widget

from rbp_engine.run.status.samples import Floats, OwnHistory
from rbp_tui.charts.layer_rows import LayerRows, Sparks, Words
from rbp_tui.charts.series import Series
from rbp_tui.dashboard.network.layers import LayersAndChart
from rbp_tui.dashboard.network.sampled_tab import SampledTab
from rbp_tui.dashboard.network.tab import x_axis_of, x_of
from rbp_tui.dashboard.reading.reader import Sight

NOTHING = (
    "This run has no metrics of your own.\n"
    "Launch it again with probes.own=mine.py:measure,\n"
    "a function measure(run, model) that calls run.log(name, value).\n"
    "docs/inside-the-network.md has an example."
)


class OwnTab(SampledTab[OwnHistory]):
    """A row for each metric; the selected one over training."""

    TITLE = "Own"

    def panes(self) -> Iterable[Widget]:
        yield LayersAndChart("")

    def samples(self, sight: Sight) -> OwnHistory | None:
        return sight.history.own

    def why_nothing(self, sight: Sight) -> str:
        if sight.verdict.live:
            return "No metrics yet: what the function of probes.own logs is here after train.log_every steps."
        return NOTHING

    def draw(self, samples: OwnHistory, number: int, sight: Sight) -> None:
        self.query_one(LayersAndChart).show(metric_rows(samples, number))

    def draw_charts(self, samples: OwnHistory) -> None:
        """Draw the selected metric, where it was logged."""
        pane = self.query_one(LayersAndChart)
        values = samples.values[:, pane.table.selected]
        known = np.isfinite(values)
        pane.chart.x_axis = x_axis_of(samples)
        pane.chart.title = samples.names[pane.table.selected]
        pane.chart.set_series([Series("metric", pane.chart.title, x_of(samples)[known], values[known])])


def metric_rows(own: OwnHistory, number: int) -> LayerRows:
    """The metrics at one sample; one that was not logged then has the value that it had before."""
    columns = [column[np.isfinite(column)] for column in own.values.T]
    until = [column[np.isfinite(column)] for column in own.values[: number + 1].T]
    return LayerRows(
        "your metrics",
        own.names,
        [
            Words("value", [_number(values[-1:]) for values in until], right=True),
            Words("lowest", [_number(np.sort(values)[:1]) for values in columns], right=True, rank=1),
            Words("highest", [_number(np.sort(values)[-1:]) for values in columns], right=True, rank=2),
            Sparks("trend", own.values, rank=3),
        ],
        heading="metric",
    )


def _number(values: Floats) -> str:
    return f"{values[0]:.4g}" if len(values) else "–"
