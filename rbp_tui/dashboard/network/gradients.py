"""The tab "Gradients": how close the gradient is to BPTT's over training, in all and by layer (paper, figure 3)."""

from collections.abc import Iterable

import numpy as np
from textual import on
from textual.widget import Widget

from rbp_engine.run.status.samples import FidelityHistory, Floats
from rbp_tui.charts.layer_rows import LayerRows, Numbers, Sparks, Words
from rbp_tui.charts.series import Series
from rbp_tui.dashboard.charts.layer_table import LayerTable
from rbp_tui.dashboard.network.layers import LayersAndChart
from rbp_tui.dashboard.network.tab import NetworkTab, sample_at, x_axis_of, x_of
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.text import format as fmt

AGREEMENT, ERROR = "against BPTT", "error"  # titles of the chart
#: From this error on, a number is marked: half of a gradient is not what the rate methods take it for.
LARGE_ERROR = 0.5
NOTHING = (
    "No gradient has been compared with BPTT's yet: that happens every probes.gradients steps, and never if it is 0, "
    "as it is by default.\nLaunch the run with, for example, probes.gradients=100, or compare at its last weights: "
    "rbp eval RUN --gradients"
)


class GradientsTab(NetworkTab):
    """A table of the whole network, of weight layers and of neuron layers; the selected one over training."""

    TITLE = "Gradients"

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[FidelityHistory, int] | None = None  # the history and the number of the sample

    def panes(self) -> Iterable[Widget]:
        yield LayersAndChart(AGREEMENT)

    def steps(self, sight: Sight) -> Floats:
        return sight.history.fidelity.step if sight.history.fidelity is not None else np.empty(0)

    def show(self, sight: Sight | None, step: float | None) -> None:
        fidelity = sight.history.fidelity if sight is not None else None
        if sight is None or fidelity is None:
            self.say_nothing_yet("reading…" if sight is None else NOTHING)
            self._shown = None
            return
        self.say_nothing_yet("")
        number = sample_at(fidelity, step) % len(fidelity.step)
        if self._shown is not None and self._shown[0] is fidelity and self._shown[1] == number:
            return
        new = self._shown is None or self._shown[0] is not fidelity
        self._shown = fidelity, number
        self.query_one(LayersAndChart).show(fidelity_rows(fidelity, number, sight.summary.method))
        if new:
            self._show_chart()

    @on(LayerTable.Chosen)
    def _show_chart(self) -> None:
        """Draw the agreement in all, and that of the selected weights; or the error of the selected neurons."""
        if self._shown is None:
            return
        fidelity, pane = self._shown[0], self.query_one(LayersAndChart)
        pane.chart.x_axis = x_axis_of(fidelity)
        pane.chart.title, series = selected_series(fidelity, pane.table.selected)
        pane.chart.set_series(series)


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
    kinds = Words("", ["", *["weights"] * weights, *["neurons"] * neurons], rank=2)
    kinds.least = kinds.most
    images = fmt.counted(int(np.nan_to_num(fidelity.samples[number])), "image")
    return LayerRows(
        f"{fmt.method(method)}'s gradient against BPTT's",
        ["all weights", *fidelity.weight_layers, *fidelity.neuron_layers],
        [
            kinds,
            Numbers("cosine", cosine, digits=3),
            Numbers("norm ratio", ratio, digits=3),
            Numbers("error", errors[number], digits=3, attention=LARGE_ERROR),
            Sparks("error over training", errors, low=0.0, together=True, rank=1),
        ],
        note=f"{images}; it is BPTT itself" if method.startswith("bptt") else images,
    )


def _means(values: Floats) -> Floats:
    """Over the layers of which a value is known, [N]."""
    known = np.isfinite(values)
    means: Floats = np.where(known, values, 0.0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)
    return means
