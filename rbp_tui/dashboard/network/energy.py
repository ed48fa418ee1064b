"""The tab "Energy": what the network spends on an image, by layer and beside ANNs of the same shape."""

from collections.abc import Iterable

import numpy as np
from rich.text import Text
from textual.widget import Widget

from rbp_engine.run.files.energy import Energy
from rbp_engine.run.status.samples import Floats
from rbp_tui.charts.energy_rows import energy_rows
from rbp_tui.dashboard.charts.layer_table import LayerTable
from rbp_tui.dashboard.network.tab import NetworkTab, foreign
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.text_line import Line
from rbp_tui.text import energy_text

TALL = 26  # rows of a tab in which there is room for all comparisons


class EnergyTab(NetworkTab):
    """One measurement, at the end of the run or by `rbp eval`; it does not follow the cursor."""

    TITLE = "Energy"

    def __init__(self) -> None:
        super().__init__()
        self._shown: Energy | None = None

    def panes(self) -> Iterable[Widget]:
        yield Line(id="energy_verdict", wraps=True)
        yield LayerTable(id="energy_layers")
        yield Line(id="energy_comparison", wraps=True)

    def show(self, sight: Sight | None, step: float | None) -> None:
        energy = sight.energy if sight is not None else None
        self.say_nothing_yet(_why_nothing(sight) if energy is None else "")
        if energy is not self._shown:
            self._shown = energy
            self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        energy = self._shown
        if energy is None:
            return
        self.query_one("#energy_verdict", Line).show_text(Text(energy_text.verdict(energy), "bold"))
        self.query_one(LayerTable).show(energy_rows(energy))
        self.query_one("#energy_comparison", Line).show_text(_compared(energy, short=self.size.height < TALL))

    def steps(self, sight: Sight) -> Floats:
        return np.empty(0)


def _compared(energy: Energy, *, short: bool) -> Text:
    """Totals, the networks that are compared, and what is left out; if `short`, only the two of the verdict."""
    compared = energy_text.comparison_cells(energy)
    cells = [("an image costs", "computation", "memory", "in all"), *(compared[:2] if short else compared)]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    rows = []
    for number, (name, *numbers) in enumerate(cells):
        right = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        rows.append(Text("  ".join([name.ljust(widths[0]), *right]), "" if number else "dim"))
    lines = [Text(energy_text.totals(energy)), *rows, Text(energy_text.notes(energy), "dim")]
    return Text("\n").join(lines)


def _why_nothing(sight: Sight | None) -> str:
    if sight is None:
        return "reading…"
    if why := foreign(sight):
        return why
    if sight.verdict.live:
        return "No energy yet: with probes.energy=true, it is measured at the end of the run."
    return (
        "The energy of this run has not been measured.\n"
        "Launch it again with probes.energy=true, or measure that of its weights:\n"
        f"rbp eval {sight.run.id} energy"
    )
