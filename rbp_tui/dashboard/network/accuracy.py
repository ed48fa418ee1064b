"""The tab "Accuracy": how accurate the network is after each timestep, now and over training."""

from collections.abc import Iterable

import numpy as np
from textual.widget import Widget

from rbp_engine.run.status.samples import AccuracyHistory
from rbp_engine.run.timesteps_needed import TOLERANCE, timesteps_needed
from rbp_tui.charts.heatmap import round_top
from rbp_tui.charts.layer_rows import Heat, LayerRows, Numbers, Words
from rbp_tui.charts.series import Series
from rbp_tui.dashboard.network.layers import LayersAndChart
from rbp_tui.dashboard.network.sampled_tab import SampledTab
from rbp_tui.dashboard.network.tab import x_axis_of, x_of
from rbp_tui.dashboard.reading.reader import Sight

#: Evaluations in the heatmap, spread evenly over training where there are more.
ACROSS = 30


class AccuracyTab(SampledTab[AccuracyHistory]):
    """A row for each timestep; the accuracy after the selected one over training, beside that of all."""

    TITLE = "Accuracy"

    def panes(self) -> Iterable[Widget]:
        yield LayersAndChart("top-1 %")

    def samples(self, sight: Sight) -> AccuracyHistory | None:
        return sight.history.accuracy

    def why_nothing(self, sight: Sight) -> str:
        if sight.verdict.live:
            return "No accuracy by timestep yet: the first comes with the first evaluation."
        return (
            "This run has no accuracies by timestep: it ended before its first evaluation.\n"
            f"rbp eval {sight.run.id} finds those of its weights."
        )

    def draw(self, samples: AccuracyHistory, number: int, sight: Sight) -> None:
        pane = self.query_one(LayersAndChart)
        pane.chart.title = f"{sight.history.split} top-1 %"
        pane.show(accuracy_rows(samples, number))

    def draw_charts(self, samples: AccuracyHistory) -> None:
        """Draw the accuracy after the selected timestep, after the first and after all."""
        pane = self.query_one(LayersAndChart)
        top1, x = 100 * samples.top1_by_step, x_of(samples)
        last = top1.shape[1]
        ends = dict.fromkeys((1, last))
        chosen = pane.table.selected + 1
        pane.chart.x_axis = x_axis_of(samples)
        pane.chart.set_series(
            [
                *(Series(f"t{t}", f"t = {t}", x, top1[:, t - 1]) for t in ends if t != chosen),
                Series(f"t{chosen}", f"t = {chosen}", x, top1[:, chosen - 1], emphasis=True),
            ]
        )


def accuracy_rows(accuracy: AccuracyHistory, number: int) -> LayerRows:
    """The timesteps at one evaluation, with what is missing to T over all of them."""
    now = accuracy.top1_by_step[number]
    below = np.maximum(0.0, accuracy.top1_by_step[:, -1:] - accuracy.top1_by_step)  # [N, T]
    across = np.unique(np.linspace(0, len(below) - 1, min(ACROSS, len(below))).round().astype(int))
    needed = timesteps_needed(now.tolist())
    highest = float(np.nanmax(below)) if np.isfinite(below).any() else 0.0
    near = f"◂ within {100 * TOLERANCE:g} of T"
    return LayerRows(
        "accuracy by timestep",
        [f"t = {t}" for t in range(1, len(now) + 1)],
        [
            Numbers("top-1 %", now, digits=2, factor=100),
            Numbers("Δ to T", now - now[-1], digits=2, factor=100, signed=True, rank=2),
            Words("", [near if t == needed else "" for t in range(1, len(now) + 1)], ["green"] * len(now), rank=1),
            Heat(
                "below T, by epoch",
                below[across].T,
                round_top(highest),
                [_epoch(accuracy, at) for at in across],
                rank=3,
            ),
        ],
        note="colour: points below T, by epoch",
        heading="timestep",
    )


def _epoch(accuracy: AccuracyHistory, number: int) -> str:
    return f"{accuracy.epoch[number]:.0f}"
