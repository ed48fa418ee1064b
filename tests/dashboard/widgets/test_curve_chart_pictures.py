"""Pictures of charts."""

import numpy as np
from textual.app import App

from rbp_tui.charts.series import Series
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.themes import DARK
from tests.dashboard.screen_pictures import at


class Picture(App[None]):
    """One chart in our own theme."""

    def __init__(self, chart):
        super().__init__()
        self.chart = chart

    def compose(self):
        yield self.chart

    def on_mount(self):
        self.register_theme(DARK)
        self.theme = DARK.name


def losses():
    """A noisy training loss every ten steps, and a validation loss per epoch that passes its minimum."""
    steps = np.arange(0.0, 4000.0, 10.0)
    # Waves instead of random noise, because they are the same in every version of numpy.
    train = 2.2 * np.exp(-steps / 700) + 0.15 + 0.06 * np.sin(steps) * np.cos(steps / 7)
    epochs = np.arange(100.0, 4000.0, 100.0)
    val = 2.0 * np.exp(-epochs / 800) + 0.3 + 0.1 * (epochs / 4000) ** 2
    return [
        Series("train", "train", steps, train),
        Series("val", "val", epochs, val, band=(val - 0.12, val + 0.2), marker="lowest"),
    ]


@at("40x10", "120x30")
def test_two_curves_with_band_best_value_and_cursor(same_picture, size):
    chart = CurveChart("loss")
    chart.set_series(losses())
    chart.set_cursor(1500.0)
    same_picture(Picture(chart), size)


@at("120x30")
def test_log_y(same_picture, size):
    chart = CurveChart("loss")
    chart.set_series(losses())
    chart.y_log = True
    chart.smoothing = 0.9
    same_picture(Picture(chart), size)
