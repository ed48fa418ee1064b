"""`rbp runs layers`: what probes have measured of each layer of a run."""

from typing import Annotated

import typer

from rbp_tui.cli.options import Json, RunsDir
from rbp_tui.cli.output import print_json, print_rich, say
from rbp_tui.cli.runs.choice import Run, find
from rbp_tui.text.styled import styled


def layers(
    run: Run,
    epoch: Annotated[
        float | None,
        typer.Option(metavar="E", help="The samples nearest to this epoch; else the newest.", show_default=False),
    ] = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """What probes have measured of each layer: firing rates; health and gradients where the preset asks for them."""
    from rbp_engine.run.start import refuse_other_program
    from rbp_engine.run.status.history_reader import read_history
    from rbp_tui.text.layers_text import layer_samples, layers_plain, layers_table

    directory = find(run, runs_dir)
    found = layer_samples(read_history(directory), epoch)
    if as_json:
        print_json({"run": directory.id} | layers_plain(found))
        return
    if not found:
        refuse_other_program(directory, "so that rbp has not looked at its layers")
        say("{} has no samples of its layers: set probes.firing_rates=true, and train", directory.id)
    for number, samples in enumerate(found):
        if number:
            print_rich("")
        place = samples.step, f"{samples.epoch:.2f}"
        print_rich(styled("[bold]{}[/] [dim]at step {}, epoch {}[/]", samples.title, *place))
        print_rich(layers_table(samples))
