"""The energy of a network as a table: a row for each layer, and one for all neurons."""

import numpy as np

from rbp_engine.run.files.energy import Energy
from rbp_tui.charts.layer_rows import LayerRows, Numbers, Words
from rbp_tui.text.energy_text import joules, operations

NEURONS = "all neurons"
BAR = 10  # cells of the longest bar
EIGHTHS = " ▏▎▍▌▋▊▉█"


def energy_rows(energy: Energy) -> LayerRows:
    """The layers in their order. The energy is that on integer hardware, and the bar its share of the whole."""
    layers, neurons = energy.layers, energy.neurons
    spent = [layer.pj for layer in layers] + [neurons.pj]
    shares = [(pj or 0.0) / (energy.spiking.total_pj or 1.0) for pj in spent]
    rates = [np.nan if layer.rate is None else layer.rate for layer in layers]
    return LayerRows(
        "energy of an image by layer",
        [*(layer.name for layer in layers), NEURONS],
        [
            Numbers("input rate %", np.array([*rates, np.nan]), factor=100),
            Words("synops", [operations(layer.synops) for layer in layers] + ["–"], right=True),
            Words("ACs", [operations(layer.acs) for layer in layers] + ["–"], right=True, rank=3),
            Words("MACs", [operations(layer.macs) for layer in layers] + ["–"], right=True, rank=1),
            Words("energy", [joules(pj) for pj in spent], right=True),
            Numbers("share %", np.array(shares), factor=100, rank=1),
            Words(" " * BAR, [_bar(share / (max(shares) or 1.0)) for share in shares], rank=2),
            Words("quantised ANN", [joules(layer.quantised_pj) for layer in layers] + ["–"], right=True, rank=4),
        ],
    )


def _bar(share: float) -> str:
    eighths = round(8 * BAR * share)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).strip()
