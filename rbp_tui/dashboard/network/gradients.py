"""The tab "Gradients": how close the gradient is to BPTT's over training, in all and by layer (paper, figure 3)."""

from collections.abc import Iterable

import numpy as np
from textual.widget import Widget

from rbp_engine.run.status.samples import FidelityHistory, Floats
from rbp_tui.charts.layer_rows import LayerRows, layer_names, numbers, sparks, words
from rbp_tui.charts.series import Series
from rbp_tui.dashboard.network.tab import LayersAndCharts, SampledTab, setting_of, x_axis_of, x_of
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.text import format as fmt
from rbp_tui.text.words import explained

AGREEMENT, ERROR = "against BPTT", "error"  # titles of the chart
#: From this error on, a number is marked: half of a gradient is not what the rate methods take it for.
LARGE_ERROR = 0.5


class GradientsTab(SampledTab[FidelityHistory]):
    """A table of the whole network, of weight layers and of neuron layers; the selected one over training."""

    HELP = explained("cosine", "norm ratio", "error")
    TITLE = "Gradients"

    def panes(self) -> Iterable[Widget]:
        yield LayersAndCharts(AGREEMENT)

    def samples(self, sight: Sight) -> FidelityHistory | None:
        return sight.history.fidelity

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
        pane.charts[0].x_axis = x_axis_of(samples)
        pane.charts[0].title, series = selected_series(samples, pane.table.selected)
        pane.charts[0].set_series(series)


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


def fidelity_rows(fidelity: FidelityHistory, number: int, method: str) -> LayerRows:
    """The whole network, its weight layers and its neuron layers at one sample."""
    weights, neurons = len(fidelity.weight_layers), len(fidelity.neuron_layers)
    unknown = np.full(neurons, np.nan)
    cosine = np.concatenate([[fidelity.cosine[number]], fidelity.cosine_by_weight[number], unknown])
    ratio = np.concatenate([[fidelity.norm_ratio[number]], fidelity.norm_ratio_by_weight[number], unknown])
    of_all = np.full((len(fidelity.step), 1), np.nan)
    errors = np.concatenate([of_all, fidelity.weight_error, fidelity.neuron_error], axis=1)
    kinds = ["", *["weights"] * weights, *["neurons"] * neurons]
    images = fmt.counted(int(np.nan_to_num(fidelity.samples[number])), "image")
    return LayerRows(
        f"{fmt.method(method)}'s gradient against BPTT's",
        [
            layer_names(["all weights", *fidelity.weight_layers, *fidelity.neuron_layers]),
            words("", kinds),
            numbers("cosine", cosine, digits=3),
            numbers("norm ratio", ratio, digits=3),
            numbers("error", errors[number], digits=3, attention=LARGE_ERROR),
            sparks("error trend", errors, low=0.0, together=True),
        ],
        note=f"{images}; it is BPTT itself" if method.startswith("bptt") else images,
    )


def _means(values: Floats) -> Floats:
    """Over the layers of which a value is known, [N]."""
    known = np.isfinite(values)
    means: Floats = np.where(known, values, 0.0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)
    return means
