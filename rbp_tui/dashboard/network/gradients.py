"""The tab "Gradients": how close the gradient is to BPTT's over training, in all and by layer (paper, figure 3)."""

from collections.abc import Iterable

import numpy as np
from textual.widget import Widget

from rbp_engine.run.history.samples import FidelityHistory, Floats
from rbp_tui.charts.probe_rows import fidelity_rows
from rbp_tui.charts.series import Series
from rbp_tui.dashboard.network.tab import LayersAndCharts, SampledTab, setting_of, x_of
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.text.words import explained

AGREEMENT, ERROR = "against BPTT", "error"  # titles of the chart


class GradientsTab(SampledTab[FidelityHistory]):
    """A table of the whole network, of weight layers and of neuron layers; the selected one over training."""

    HELP = explained("cosine", "norm ratio", "error")
    TITLE = "Gradients"
    PROBE = "fidelity"

    def panes(self) -> Iterable[Widget]:
        yield LayersAndCharts(AGREEMENT)

    def why_nothing(self, sight: Sight) -> str:
        every = setting_of(sight, "probes.gradients")
        if sight.verdict.live and every:
            return f"No gradients compared yet: the first are after {every} steps."
        return (
            f"This run {'does not compare' if sight.verdict.live else 'has not compared'} its gradients with BPTT's.\n"
            f"Start one that does:\nrbp train --like {sight.run.id} probes.gradients=100\n"
            f"Or compare those of its weights:\nrbp eval {sight.run.id} gradients"
        )

    def draw(self, samples: FidelityHistory, number: int, sight: Sight) -> None:
        self.query_one(LayersAndCharts).show(fidelity_rows(samples, number, sight.summary.method))

    def draw_charts(self, samples: FidelityHistory) -> None:
        """Draw the agreement in all, and that of the selected weights; or the error of the selected neurons."""
        pane = self.query_one(LayersAndCharts)
        title, series = selected_series(samples, pane.table.selected)
        pane.draw(samples, series, title)


def selected_series(fidelity: FidelityHistory, row: int) -> tuple[str, list[Series]]:
    """The title and the curves of the chart for a row of `fidelity_rows`."""
    x, layer = x_of(fidelity), row - 1
    if layer >= len(fidelity.weight_layers):
        layer -= len(fidelity.weight_layers)
        name, errors = fidelity.neuron_layers[layer], fidelity.neuron_error
        mean = Series("all neurons", "all neurons", x, _means(errors))
        return ERROR, [mean, Series("neurons", name, x, errors[:, layer], emphasis=True)]
    ratio = Series("norm ratio", "norm ratio", x, fidelity.norm_ratio)
    cosine = Series("cosine", "cosine", x, fidelity.cosine, emphasis=layer < 0)
    if layer < 0:
        return AGREEMENT, [ratio, cosine]
    own = fidelity.cosine_by_weight[:, layer]
    own_ratio = Series("own norm ratio", "its norm ratio", x, fidelity.norm_ratio_by_weight[:, layer])
    return AGREEMENT, [cosine, own_ratio, Series("own cosine", "its cosine", x, own, emphasis=True)]


def _means(values: Floats) -> Floats:
    """Over the layers of which a value is known, [N]."""
    known = np.isfinite(values)
    means: Floats = np.where(known, values, 0.0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)
    return means
