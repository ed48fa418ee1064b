"""The energy of a network as a table: a row for each layer, and one for all neurons."""

import numpy as np

from rbp_engine.run.files.energy import Energy
from rbp_tui.charts.layer_rows import LayerRows, Numbers, Words
from rbp_tui.text.energy_text import joules, operations

NEURONS = "all neurons"
BAR = 12  # cells of the longest bar
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
            Numbers("rate in %", np.array([*rates, np.nan]), factor=100),
            _words("synops", [operations(layer.synops) for layer in layers] + ["–"]),
            _words("ACs", [operations(layer.acs) for layer in layers] + ["–"], rank=3),
            _words("MACs", [operations(layer.macs) for layer in layers] + ["–"], rank=1),
            _words("energy", [joules(pj) for pj in spent]),
            Numbers("share %", np.array(shares), factor=100, rank=1),
            Words(" " * BAR, [_bar(share / (max(shares) or 1.0)) for share in shares], rank=2),
            _words("quantised ANN", [joules(layer.quantised_pj) for layer in layers] + ["–"], rank=4),
        ],
    )


def _words(heading: str, texts: list[str], rank: int = 0) -> Words:
    """A column of numbers with units, which end below each other."""
    width = max(len(heading), *map(len, texts))
    return Words(heading.rjust(width), [text.rjust(width) for text in texts], rank=rank)


def _bar(share: float) -> str:
    eighths = round(8 * BAR * share)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).strip()
