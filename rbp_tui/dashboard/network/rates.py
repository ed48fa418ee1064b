"""The tab "Rates": how often the neurons of each layer fire at each timestep, and how accurate the network is then."""

from collections.abc import Iterable

from rich.text import Text
from textual.widget import Widget

from rbp_engine.run.history.samples import AccuracyHistory, FiringHistory
from rbp_engine.run.timesteps_needed import timesteps_needed
from rbp_tui.charts.probe_rows import rate_rows
from rbp_tui.charts.series import Series
from rbp_tui.dashboard.network.tab import LayersAndCharts, SampledTab, first_sample, setting_of, x_of
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.text_line import Line
from rbp_tui.text import format as fmt
from rbp_tui.text.words import explained


class RatesTab(SampledTab[FiringHistory]):
    """A heatmap of layers and timesteps; the rates of the selected layer over training; accuracy by timestep."""

    HELP = explained("t = 1", "silent", "saturated", "T needed")
    TITLE = "Rates"
    PROBE = "firing"

    def panes(self) -> Iterable[Widget]:
        yield LayersAndCharts("rate %")
        yield Line(id="accuracy", wraps=True)

    def why_nothing(self, sight: Sight) -> str:
        if setting_of(sight, "probes.firing_rates") is False:
            return "This run takes no firing rates.\nLaunch it again with probes.firing_rates=true."
        if sight.verdict.live:
            return f"No firing rates yet: the first come {first_sample(sight)}."
        return f"This run has no firing rates: the first would have come {first_sample(sight)}."

    def draw(self, samples: FiringHistory, number: int, sight: Sight) -> None:
        pane = self.query_one(LayersAndCharts)
        pane.show(rate_rows(samples, number, pane.table.colours))
        accuracy, split = sight.history.accuracy, sight.history.split
        said = Text() if accuracy is None else accuracy_text(accuracy, accuracy.at(samples.step[number]), split)
        self.query_one("#accuracy", Line).show_or_hide(said)

    def draw_charts(self, samples: FiringHistory) -> None:
        """Draw the mean of the selected layer, its first and last timestep, and the mean of all layers.

        Short names leave room for their numbers in 80 columns.
        """
        pane = self.query_one(LayersAndCharts)
        rates, x = 100 * samples.rates, x_of(samples)
        layer = rates[:, pane.table.selected]
        name = samples.neuron_layers[pane.table.selected]
        ends = {"t = 1": layer[:, 0], f"t = {layer.shape[1]}": layer[:, -1]} if layer.shape[1] > 1 else {}
        pane.draw(
            samples,
            [
                Series("all", "all", x, rates.mean(axis=(1, 2))),
                Series("layer", name, x, layer.mean(axis=1), emphasis=True),
                *(Series(label, label, x, values) for label, values in ends.items()),
            ],
        )


def accuracy_text(accuracy: AccuracyHistory, number: int, split: str) -> Text:
    """The accuracy after each timestep at one evaluation, and from which on it is close to that after all of them."""
    top1 = accuracy.top1_by_step[number].tolist()
    each = "   ".join(
        f"{t}: {fmt.percent(value)}"
        for t, value in enumerate(top1, start=1)
        if len(top1) <= 8 or t & (t - 1) == 0 or t == len(top1)  # of many the powers of two
    )
    needed = timesteps_needed(top1)
    found = "" if needed is None else f" T needed: {needed}  "
    return Text.assemble((found, "green"), (f" {split} top-1 % after t =  ", "dim"), each)
