"""`rbp eval RUN energy`: what the network of a run spends on an image."""

from typing import Any

import typer

from rbp_engine.run.files.layout import RunDirectory
from rbp_tui.cli.output import fail, print_rich, say


def print_energy(run: RunDirectory, answer: dict[str, Any]) -> None:
    """Print what was measured, and whether the run keeps it."""
    from rbp_engine.codec import convert
    from rbp_engine.run.files.energy import Energy
    from rbp_tui.charts.energy_rows import energy_report
    from rbp_tui.text import energy_text

    try:
        energy = convert(Energy, answer)
    except ValueError:
        raise typer.Exit(fail("the result cannot be read", 1)) from None
    say("[dim]{} weights of {}, {}[/]", answer["weights"], run.id, energy_text.notes(energy))
    print_rich(energy_report(energy))
    if answer.get("kept"):
        say("[yellow]it is not kept in the run: {}[/]", answer["kept"])
