"""The energy of a network as tables: a row for each layer, one for all neurons, and networks to compare it with."""

import numpy as np
from rich.console import Group
from rich.text import Text

from rbp_engine.run.files.energy import Energy
from rbp_tui.charts.layer_rows import layer_names, numbers, words
from rbp_tui.text import energy_text
from rbp_tui.text.energy_text import joules, operations
from rbp_tui.text.text_table import TextColumn, empty_table, filled_table

NEURONS = "all neurons"


def energy_columns(energy: Energy) -> list[TextColumn]:
    """The layers in their order. The energy is that on integer hardware, and the share that of the whole."""
    layers, neurons = energy.layers, energy.neurons
    spent = [layer.pj for layer in layers] + [neurons.pj]
    shares = [(pj or 0.0) / (energy.spiking.total_pj or 1.0) for pj in spent]
    rates = [np.nan if layer.rate is None else layer.rate for layer in layers]
    return [
        layer_names([*(layer.name for layer in layers), NEURONS]),
        words("energy", [joules(pj) for pj in spent], right=True),
        numbers("share %", np.array(shares), factor=100),
        numbers("input rate %", np.array([*rates, np.nan]), factor=100),
        words("synops", [operations(layer.synops) for layer in layers] + ["–"], right=True),
        words("ACs", [operations(layer.acs) for layer in layers] + ["–"], right=True),
        words("MACs", [operations(layer.macs) for layer in layers] + ["–"], right=True),
        words("ANN", [joules(layer.quantised_pj) for layer in layers] + ["–"], right=True),
    ]


def energy_report(energy: Energy) -> Group:
    """What an image costs: the verdict, each layer, and the network beside others of its shape."""
    compared = empty_table(["an image costs"], ["computation", "memory", "in all"])
    for cells in energy_text.comparison_cells(energy):
        compared.add_row(*map(Text, cells))
    said = Text(f"{energy_text.verdict(energy)}\n{energy_text.totals(energy)}")
    return Group(said, Text(), filled_table(energy_columns(energy)), Text(), compared)
