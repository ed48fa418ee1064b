"""The tab "Health": whether layers can learn. Membranes and eligibilities of the neurons, updates of the weights."""

from collections.abc import Iterable

from textual.containers import VerticalScroll
from textual.widget import Widget

from rbp_engine.run.history.samples import HealthHistory
from rbp_tui.charts.probe_rows import HIGHEST, LOWEST, MEDIAN, neuron_rows, weight_rows
from rbp_tui.charts.series import Series
from rbp_tui.dashboard.network.tab import LayersAndCharts, SampledTab, first_sample, setting_of, x_of
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.text.words import explained


class HealthTab(SampledTab[HealthHistory]):
    """Neuron layers and weights: beside each other, or below where there is no room for that."""

    HELP = explained("in window", "g", "update/weight")
    TITLE = "Health"
    PROBE = "health"

    def __init__(self) -> None:
        super().__init__()
        self.neurons = LayersAndCharts("membranes in window %", "eligibility g")
        self.weights = LayersAndCharts("gradient norm", "update / weight")
        for chart in self.weights.charts:
            chart.y_log = True

    def panes(self) -> Iterable[Widget]:
        yield VerticalScroll(self.neurons, self.weights, id="health", can_focus=False)

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
        for pane, chart, label, values, around in (
            (self.neurons, 0, name, 100 * samples.in_window[:, layer], None),
            (self.neurons, 1, f"{name} 5–95 %", eligibility[:, MEDIAN], band),
            (self.weights, 0, weight_name, samples.gradient_norm[:, weight], None),
            (self.weights, 1, weight_name, samples.update_ratio[:, weight], None),
        ):
            pane.draw(samples, [Series("layer", label, x_of(samples), values, band=around)], chart=chart)
