"""`rbp cost`: memory and time of a preset before it is launched."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rbp_tui.cli.options import TRAIN, Json
from rbp_tui.cli.output import cell, print_json, print_rich, say
from rbp_tui.cli.progress import progress
from rbp_tui.cli.settings_command import PresetName, Settings, SettingsCommand
from rbp_tui.cli.trust import warn_of_shared_presets
from rbp_tui.text.styled import styled

if TYPE_CHECKING:
    from rbp_engine.bench.cost import Cost
    from rbp_engine.preset import LoadedPreset


def register(app: typer.Typer) -> None:
    app.command(
        cls=SettingsCommand,
        rich_help_panel=TRAIN,
        epilog="Example:  rbp cost cifar10-resnet18 T=6 method=bptt   ·   rbp cost mine.toml --json",
    )(cost)


def cost(
    preset: PresetName,
    overrides: Settings = None,
    seconds: Annotated[float, typer.Option(min=0.0, max=3600.0, metavar="S", help="How long to measure.")] = 4.0,
    as_json: Json = False,
) -> None:
    """Predict memory and time of a preset on this machine, from a few steps of its training.

    A quarter of a minute for a small network; for a large one on a CPU a minute or two, since steps are long there.
    Nothing is kept, and the data need not be here. If the preset does not fit, the output says what would.
    """

    from rbp_engine.bench.cost import predict_cost
    from rbp_engine.preset import load_preset

    warn_of_shared_presets(preset)
    loaded = load_preset(preset, overrides or [])
    about = "about a quarter of a minute; a minute or two for a large network on a CPU"
    with progress(f"measuring a few steps of {loaded.name}: {about}") as on_progress:
        predicted = predict_cost(loaded, seconds=seconds, on_progress=on_progress)
    if as_json:
        print_json(asdict(predicted))
    else:
        _print_cost(loaded, predicted)


def _print_cost(loaded: "LoadedPreset", cost: "Cost") -> None:
    """Print the prediction on stdout; if the preset does not fit, what would goes to stderr."""
    from rich.table import Table

    from rbp_tui.text.cost_text import cost_lines, cost_title, what_fits

    table = Table.grid(padding=(0, 2))
    for label, text in cost_lines(cost):
        table.add_row(styled("[dim]{}[/]", label), cell(text))
    print_rich(styled("[bold]{}[/]", cost_title(loaded, cost)))
    print_rich(table)
    if problem := what_fits(cost):
        say("[bold red]✗[/] {}", problem)
