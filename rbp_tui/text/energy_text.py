"""The energy of a network in words and numbers, for the command line and the dashboard."""

from collections.abc import Sequence

from rbp_engine.run.files.energy import Energy, EnergyCost
from rbp_tui.text import format as fmt

UNITS = ("pJ", "nJ", "µJ", "mJ", "J")
MAC_PJ, AC_PJ = 4.6, 0.9  # 32-bit floats: a multiplication is 3.7 pJ, an addition 0.9 (Horowitz, ISSCC 2014)


def joules(pj: float | None) -> str:
    """An energy in picojoules as `2.77 µJ`, with three digits that count; a dash for none."""
    if pj is None:
        return "–"
    return " ".join(_scaled(pj, UNITS))


def operations(count: float) -> str:
    """A number of operations as `143k`, `37.7M`."""
    return f"{count:.3g}" if count < 999.5 else "".join(_scaled(count, ("", "k", "M", "G", "T")))


def _scaled(value: float, units: Sequence[str]) -> tuple[str, str]:
    """A value in the unit in which it has three digits that count, and that unit, each a thousand of the one before."""
    larger = 0
    while value >= 999.5 and larger < len(units) - 1:
        value, larger = value / 1000, larger + 1
    return f"{value:#.3g}".rstrip(".") if value else "0", units[larger]


def verdict(energy: Energy) -> str:
    """Whether the network costs less than an ANN that tells as many values apart, and the rate that decides it."""
    own, other = joules(energy.spiking.total_pj), joules(energy.quantised.total_pj)
    verb = "wins against" if energy.spiking.total_pj < energy.quantised.total_pj else "loses to"
    what = f"This run {verb} the {energy.bits}-bit ANN: {own} an image against {other}."
    if energy.rate is None:
        return f"{what} No layer is driven by spikes: all of them multiply."
    rate = f"Its mean rate, weighted by synapses, is {fmt.percent(energy.rate, 1)} % at T = {energy.timesteps}"
    if energy.break_even is None:
        return f"{what} {rate}; it would lose at any rate: even without a spike it costs more."
    if energy.break_even >= 1:
        return f"{what} {rate}; it would win at any rate."
    return f"{what} {rate}; both would cost the same at {fmt.percent(energy.break_even, 1)} %."


def totals(energy: Energy) -> str:
    """The operations for one image."""
    synops, acs, macs, ann = map(operations, (energy.synops, energy.acs, energy.macs, energy.ann_macs))
    others = f" ({operations(energy.other_acs)} outside the layers, as in pools)" if energy.other_acs else ""
    return f"{synops} synaptic operations, {acs} ACs{others}, {macs} MACs; as an ANN {ann} MACs"


def comparison_cells(energy: Energy) -> list[tuple[str, str, str, str]]:
    """Networks to compare, each with its energy of computation, of memory and in all; the last two count no memory."""
    networks = [
        ("this network, 8-bit weights", energy.spiking),
        (f"ANN, {energy.bits}-bit activations, 8-bit weights", energy.quantised),
        ("this network, 32-bit integers", energy.spiking_32),
        ("ANN, 32-bit integers", energy.ann_32),
        ("this network, 32-bit floats", EnergyCost(MAC_PJ * energy.macs + AC_PJ * energy.acs)),
        ("ANN, 32-bit floats", EnergyCost(MAC_PJ * energy.ann_macs)),
    ]
    cells = []
    for name, cost in networks:
        memory, total = (joules(cost.memory_pj), joules(cost.total_pj)) if cost.memory_pj else ("not counted", "")
        cells.append((name, joules(cost.compute_pj), memory, total))
    return cells


def notes(energy: Energy) -> str:
    """What was measured, and what the energy leaves out."""
    at = "" if energy.step is None else f", at step {fmt.thousands(energy.step)}"
    text = f"from {fmt.counted(energy.images, 'image')}{at}"
    return f"{text}; left out: {', '.join(energy.uncounted)}" if energy.uncounted else text
