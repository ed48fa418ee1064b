"""`rbp eval RUN energy`: what the network of a run spends on an image."""

from typing import Any

import typer

from rbp_engine.printable import one_line
from rbp_engine.run.files.layout import RunDirectory
from rbp_tui.cli.output import console, fail, print_line, print_rich, say


def print_energy(run: RunDirectory, answer: dict[str, Any]) -> None:
    """Print what was measured, and whether the run keeps it."""
    from rbp_engine.codec import convert
    from rbp_engine.run.files.energy import Energy

    try:
        energy = convert(Energy, answer)
    except ValueError:
        raise typer.Exit(fail("the result cannot be read", 1)) from None
    from rich.table import Column, Table

    from rbp_tui.charts.energy_rows import energy_rows
    from rbp_tui.text import energy_text

    say("[dim]{} weights of {}, {}[/]", answer["weights"], run.id, energy_text.notes(energy))
    rows, width = energy_rows(energy), console().width
    print_rich(rows.head(width))
    for number in range(len(rows)):
        print_rich(rows.row(number, width, ()))
    print_line(one_line(energy_text.totals(energy)))
    numbers = [Column(heading, justify="right") for heading in ("computation", "memory", "in all")]
    compared = Table("", *numbers, box=None, pad_edge=False, header_style="dim")
    for cells in energy_text.comparison_cells(energy):
        compared.add_row(*cells)
    print_rich(compared)
    print_line(one_line(energy_text.verdict(energy)))
    if answer.get("kept"):
        say("[yellow]it is not kept in the run: {}[/]", answer["kept"])
