"""The tab "Health": whether layers can learn. Membranes and eligibilities of the neurons, updates of the weights."""

from collections.abc import Iterable

from textual.containers import VerticalScroll
from textual.widget import Widget

from rbp_engine.run.files.events import ELIGIBILITY_QUANTILES
from rbp_engine.run.status.samples import HealthHistory
from rbp_tui.charts.layer_rows import LayerRows, layer_names, numbers, sparks, words
from rbp_tui.charts.series import Series
from rbp_tui.dashboard.network.tab import LayersAndCharts, SampledTab, first_sample, setting_of, x_axis_of, x_of
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.text.words import explained

WIDE = 130  # cells, from which there is room for neurons and weights
LOWEST, _, MEDIAN, _, HIGHEST = range(len(ELIGIBILITY_QUANTILES))


class HealthTab(SampledTab[HealthHistory]):
    """Neuron layers and weights: beside each other, or below where there is no room for that."""

    HELP = explained("in window", "g", "update/weight")
    TITLE = "Health"

    def __init__(self) -> None:
        super().__init__()
        self.neurons = LayersAndCharts("membranes in window %", "eligibility g")
        self.weights = LayersAndCharts("gradient norm", "update / weight")
        for chart in self.weights.charts:
            chart.y_log = True

    def panes(self) -> Iterable[Widget]:
        yield VerticalScroll(self.neurons, self.weights, id="health", can_focus=False)

    def on_resize(self) -> None:
        self.query_one("#health").set_class(self.size.width >= WIDE, "-beside")

    def samples(self, sight: Sight) -> HealthHistory | None:
        return sight.history.health

    def why_nothing(self, sight: Sight) -> str:
        if sight.verdict.live and setting_of(sight, "probes.health"):
            return f"No sample of its health yet: the first is {first_sample(sight)}."
        return (
            f"This run {'takes no samples' if sight.verdict.live else 'has no samples'} of its health.\n"
            f"Start one that takes them:\nrbp train --like {sight.run.id} probes.health=true"
        )

    def draw(self, samples: HealthHistory, number: int, sight: Sight) -> None:
        self.neurons.show(neuron_rows(samples, number))
        self.weights.show(weight_rows(samples, number))

    def draw_charts(self, samples: HealthHistory) -> None:
        """Draw the selected layers over training."""
        layer, weight = self.neurons.table.selected, self.weights.table.selected
        eligibility = samples.eligibility[:, layer]
        band = eligibility[:, LOWEST], eligibility[:, HIGHEST]
        name, weight_name = samples.neuron_layers[layer], samples.weight_layers[weight]
        drawn = (
            (name, 100 * samples.in_window[:, layer], None),
            (f"{name} 5–95 %", eligibility[:, MEDIAN], band),
            (weight_name, samples.gradient_norm[:, weight], None),
            (weight_name, samples.update_ratio[:, weight], None),
        )
        for chart, (label, values, around) in zip((*self.neurons.charts, *self.weights.charts), drawn, strict=True):
            chart.x_axis = x_axis_of(samples)
            chart.set_series([Series("layer", label, x_of(samples), values, band=around)])


def neuron_rows(health: HealthHistory, number: int) -> LayerRows:
    """The neuron layers at one sample."""
    eligibility = health.eligibility[number]
    ranges = [f"{low:.3f} … {high:.3f}" for low, high in eligibility[:, [LOWEST, HIGHEST]]]
    return LayerRows(
        "neurons",
        [
            layer_names(health.neuron_layers),
            numbers("in window %", health.in_window[number], factor=100),
            numbers("g median", eligibility[:, MEDIAN], digits=3),
            words("g 5–95 %", ranges),
            sparks("window trend", health.in_window, low=0.0),
        ],
    )


def weight_rows(health: HealthHistory, number: int) -> LayerRows:
    """The layers of weights at one sample."""
    return LayerRows(
        "weights",
        [
            layer_names(health.weight_layers),
            numbers("update/weight", health.update_ratio[number], digits=None),
            numbers("gradient", health.gradient_norm[number], digits=None),
            sparks("update trend", health.update_ratio),
        ],
    )
