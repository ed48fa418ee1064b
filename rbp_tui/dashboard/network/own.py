"""The tab "Own": what the user's own function logs, by name, now and over training."""

from collections.abc import Iterable

import numpy as np
from textual.widget import Widget

from rbp_engine.printable import one_line
from rbp_engine.run.history.samples import Floats, OwnHistory
from rbp_tui.charts.layer_rows import LayerRows, layer_names, sparks, words
from rbp_tui.charts.series import Series
from rbp_tui.dashboard.network.tab import LayersAndCharts, SampledTab, first_sample, setting_of, x_of
from rbp_tui.dashboard.reading.reader import Sight

NOTHING = (
    "Own shows what a function of yours logs. This run has none.\n"
    "Launch it again with probes.own=mine.py:measure,\n"
    "a function measure(run, model) that calls run.log(name, value).\n"
    "docs/inside-the-network.md has an example."
)


class OwnTab(SampledTab[OwnHistory]):
    """A row for each metric; the selected one over training."""

    TITLE = "Own"
    PROBE = "own"

    def panes(self) -> Iterable[Widget]:
        yield LayersAndCharts("")

    def why_nothing(self, sight: Sight) -> str:
        if sight.verdict.live and (own := setting_of(sight, "probes.own")):
            return f"No metrics of your own yet: what {one_line(str(own))} logs is here {first_sample(sight)}."
        return NOTHING

    def draw(self, samples: OwnHistory, number: int, sight: Sight) -> None:
        self.query_one(LayersAndCharts).show(metric_rows(samples, number))

    def draw_charts(self, samples: OwnHistory) -> None:
        """Draw the selected metric, where it was logged."""
        pane = self.query_one(LayersAndCharts)
        values = samples.values[:, pane.table.selected]
        known = np.isfinite(values)
        name = samples.names[pane.table.selected]
        pane.draw(samples, [Series("metric", name, x_of(samples)[known], values[known])], name)


def metric_rows(own: OwnHistory, number: int) -> LayerRows:
    """The metrics at one sample; one that was not logged then has the value that it had before."""
    columns = [column[np.isfinite(column)] for column in own.values.T]
    until = [column[np.isfinite(column)] for column in own.values[: number + 1].T]
    return LayerRows(
        "your metrics",
        [
            layer_names(own.names, "metric"),
            words("value", [_number(values[-1:]) for values in until], right=True),
            words("lowest", [_number(np.sort(values)[:1]) for values in columns], right=True),
            words("highest", [_number(np.sort(values)[-1:]) for values in columns], right=True),
            sparks("trend", own.values),
        ],
    )


def _number(values: Floats) -> str:
    return f"{values[0]:.4g}" if len(values) else "–"
