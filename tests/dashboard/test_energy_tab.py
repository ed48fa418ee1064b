"""The tab "Energy" of the Network screen: empty, and when energy.json appears in the run."""

import pytest

from rbp_engine.printable import one_line
from rbp_engine.run.files.energy import Energy, EnergyCost, LayerEnergy, NeuronEnergy, write_energy
from rbp_tui.dashboard.charts.layer_table import LayerTable
from rbp_tui.dashboard.network.energy import EnergyTab
from rbp_tui.dashboard.text_line import Line

pytestmark = pytest.mark.asyncio


def energy(layers: int) -> Energy:
    each = [LayerEnergy(one_line(f"stages.{n}"), 9e5, 9e5, 0, 4e5, 0.14, 0.0, 2e5, 1e5) for n in range(layers)]
    costs = EnergyCost(1e4, 2e5 * layers), EnergyCost(1e4, 1e5 * layers), EnergyCost(1.0, 1.0), EnergyCost(1.0, 1.0)
    return Energy(5, 32, 3, each, NeuronEnergy(10, 1, 0.0, 1e4), *costs, uncounted=[one_line("AvgPool2d")], step=30)


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_it_says_how_to_measure_and_shows_what_was_measured_meanwhile(dashboard, end_run, until, size):
    run = end_run(dashboard.session.runs, "one", "seed=1", curve=[0.7, 0.9])
    dashboard.session.opened = "one"
    dashboard.session.state.network_tab = EnergyTab.TITLE
    async with dashboard.run_test(size=size) as pilot:
        await until(pilot, lambda: dashboard.session.listed)
        await pilot.press("6")
        tab = dashboard.screen.query_one(EnergyTab)
        await until(pilot, lambda: "rbp eval one energy" in tab.query_one(".nothing", Line).shown.plain)
        write_energy(run, energy(60))
        await until(pilot, lambda: not tab.has_class("-nothing"))
        assert tab.display and len(tab.query_one(LayerTable).rows) == 61
        assert "This run loses" in tab.query_one("#energy_verdict", Line).shown.plain
        compared = tab.query_one("#energy_comparison", Line)
        assert "AvgPool2d" in compared.shown.plain and ("32-bit" in compared.shown.plain) == (size[1] > 40)
        await until(pilot, lambda: tab.query_one(LayerTable).size.height >= 6)
        assert compared.region.bottom <= size[1]
