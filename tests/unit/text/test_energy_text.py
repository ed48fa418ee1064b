"""The energy of a network in words and as rows."""

from dataclasses import replace

import pytest

from rbp_engine.printable import one_line
from rbp_engine.run.files.energy import Energy, EnergyCost, LayerEnergy, NeuronEnergy
from rbp_tui.charts.energy_rows import NEURONS, energy_columns
from rbp_tui.text import energy_text


def energy(*, rate=0.14, spent=300.0):
    """Two layers, of which spikes drive the second; without a spike 50 pJ are spent, and the quantised ANN 150."""
    layers = [
        LayerEnergy(one_line("stem"), 0, 0, 2000, 2000, None, 40.0, 0.0, 50.0),
        LayerEnergy(one_line("conv"), 3000, 3000, 0, 5000, rate, 0.0, spent - 60.0, 100.0),
    ]
    neurons = NeuronEnergy(200, 30, 10.0, 10.0)
    return Energy(
        5, 32, 3, layers, neurons, EnergyCost(100.0, spent - 100), EnergyCost(50.0, 100.0), EnergyCost(), EnergyCost()
    )


def test_a_run_that_loses_is_told_the_rate_at_which_it_would_not():
    # 50 + (300 − 50)·s = 150 at s = 0.4, and 0.4 · 14 % = 5.6 %.
    assert energy_text.verdict(energy()) == (
        "This run loses to the 3-bit ANN: 300 pJ an image against 150 pJ. "
        "Its mean rate, weighted by synapses, is 14.0 % at T = 5; both would cost the same at 5.6 %."
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (replace(energy(), neurons=NeuronEnergy(200, 30, 990.0, 10.0)), "lose at any rate"),
        (energy(rate=None), "No layer is driven by spikes"),
        (energy(rate=0.9, spent=61.0), "win at any rate"),
        (energy(rate=0.05, spent=100.0), "wins against the 3-bit ANN: 100 pJ an image"),
    ],
)
def test_a_run_may_win_and_there_may_be_no_such_rate(changed, words):
    assert words in energy_text.verdict(changed)


@pytest.mark.parametrize(
    ("pj", "text"),
    [(None, "–"), (0.0, "0 pJ"), (999.4, "999 pJ"), (999.6, "1.00 nJ"), (2.77e6, "2.77 µJ"), (2.8e8, "280 µJ")],
)
def test_energies_have_a_fitting_unit(pj, text):
    assert energy_text.joules(pj) == text


def test_each_layer_is_a_row_with_its_share_and_the_neurons_are_one():
    named = {column.heading: [cell.plain for cell in column.cells] for column in energy_columns(energy())}
    assert named["layer"] == ["stem", "conv", NEURONS]
    assert named["share %"] == ["13.3", "80.0", "6.7"]
    assert named["input rate %"] == ["–", "14.0", "–"]
