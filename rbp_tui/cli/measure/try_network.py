"""`rbp try`: try your own network before there is a preset for it."""

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from rbp_engine.data.catalog import CATALOG
from rbp_engine.vocabulary import LIBRARY_NETWORK
from rbp_tui.cli import completion
from rbp_tui.cli.measure.busy import say_if_busy
from rbp_tui.cli.options import TRAIN, Json, refuse_others
from rbp_tui.cli.output import cell, print_json, print_rich, say, say_methods, say_next
from rbp_tui.cli.progress import progress
from rbp_tui.cli.settings_command import SettingsCommand
from rbp_tui.text import format as fmt
from rbp_tui.text.styled import paragraph, styled

if TYPE_CHECKING:
    from rich.table import Table

    from rbp_engine.bench.own_network import Agreement, Inspection, MethodCost
    from rbp_engine.preset import LoadedPreset

LARGEST_SHOWN = 1000
#: What `--example` writes, for a user to change.
EXAMPLE_FILE = "nets.py"
EXAMPLE = '''"""A network for rbp: layers as usual, and neuron() wherever another network has its ReLU."""

from torch import nn


class MyNet(nn.Sequential):
    def __init__(self, *, num_classes, in_channels, neuron, width=32):
        super().__init__(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), neuron(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), neuron(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes),
        )
'''
HOW_TO_BEGIN = (
    f"rbp try --example writes a small one into {EXAMPLE_FILE}, docs/own-network.md explains it; "
    "networks of libraries are called as torchvision:resnet18"
)


class TryCommand(SettingsCommand):
    """A network is required, unless --example asks for one."""

    INSTEAD: ClassVar[dict[str, str]] = {"network": "--example"}


def register(app: typer.Typer) -> None:
    app.command(
        "try",
        cls=TryCommand,
        rich_help_panel=TRAIN,
        epilog="Examples:  rbp try nets.py:MyNet --input 3,32,32 T=4   ·   rbp try nets.py:MyNet model.args.width=64"
        "   ·   rbp try mine.py:MyNeuron --neuron   ·   rbp try --example",
    )(try_network)


def try_network(
    context: typer.Context,
    network: Annotated[
        str | None,
        typer.Argument(
            metavar="NET",
            help="A class or function in a Python file, as nets.py:MyNet (rbp try --example writes one to begin with), "
            "or a library's network, as torchvision:resnet18.",
            show_default=False,
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings, as T=4 neuron.decay=0.5.",
            show_default=False,
            autocompletion=completion.settings,
        ),
    ] = None,
    image: Annotated[str, typer.Option("--input", metavar="C,H,W", help="Size of an image.")] = "3,32,32",
    classes: Annotated[int, typer.Option(min=2, max=100_000, help="Number of classes.")] = 10,
    batch: Annotated[
        int | None,
        typer.Option(min=3, help="Images per step, else 32; half of them are measured as well.", show_default=False),
    ] = None,
    frames: Annotated[bool, typer.Option("--frames", help="Another image at each timestep, as in event data.")] = False,
    neuron: Annotated[
        bool, typer.Option("--neuron", help="NAME is a neuron: check it, and try it in a small network.")
    ] = False,
    example: Annotated[
        bool, typer.Option("--example", help=f"Only write a small network into {EXAMPLE_FILE}, to begin with.")
    ] = False,
    as_json: Json = False,
) -> None:
    """See within a minute or so whether a network can be trained, and what it costs, on random images.

    Shows which operations have no rule, how close each gradient is to BPTT's, time and memory of each method, and the
    largest batch and T that fit. Memory below some 200 MiB is mostly the program's own: a larger --batch or --input
    tells the methods apart.

    Exit codes: 0 it can be trained, 1 it cannot, 2 a setting is wrong.
    """

    from rbp_engine.bench import own_network
    from rbp_engine.preset.sweep.section import refuse_twice

    if example:
        refuse_others(context, "--example")
        _write_example()
        return
    assert network is not None  # TryCommand requires it
    if batch is not None:
        refuse_twice([*(overrides or []), f"batch={batch}"])
    sizes, size = _sizes(image), batch or 32
    library = LIBRARY_NETWORK.fullmatch(network)
    if not library and not (file := Path(network.partition(":")[0])).exists():
        raise typer.BadParameter(f"there is no file {file}; for a run, rbp eval; {HOW_TO_BEGIN}")
    if network.endswith(".py"):
        raise typer.BadParameter(f"which class or function of {network}? Name it as {network}:MyNet")

    def preset(*words: str) -> "LoadedPreset":
        chosen = [*([f"neuron.name={network}"] if neuron else []), *(overrides or []), *words]
        within = "convnet" if neuron else network
        return own_network.preset_for(within, sizes, classes=classes, batch=size, frames=frames, overrides=chosen)

    loaded = preset()
    say_if_busy()
    what = (
        f"running {network} once on {size} images of {'×'.join(map(str, sizes))} (--input), then comparing gradients "
        "and measuring three methods"
    )
    with progress(f"{what}: about half a minute, longer for a large network") as report:
        found = own_network.inspect(loaded, lambda doing, share: report(doing, 0.4 * share))
        costs = []
        if not found.missing:
            costs = own_network.costs(
                lambda method: preset(f"method={method}"),
                lambda doing, share: report(doing, 0.4 + 0.6 * share),
            )
    if as_json:
        print_json(asdict(found) | {"methods": [asdict(cost) for cost in costs]})
    else:
        _print(loaded, found, costs)
        if not found.missing and found.neuron_layers:
            typed = [f"neuron.name={network}" if neuron else f"arch={network}", *(overrides or [])]
            say("")
            say_next([_command(typed, sizes, classes)])
    raise typer.Exit(1 if found.missing else 0)


def _write_example() -> None:
    """Write the example into the working directory; a file of that name stays as it is."""
    try:
        with Path(EXAMPLE_FILE).open("x", encoding="utf-8") as file:
            file.write(EXAMPLE)
    except OSError as error:
        raise typer.BadParameter(f"cannot write {EXAMPLE_FILE}: {error.strerror}") from None
    say("written: {}; next: rbp try {}:MyNet", EXAMPLE_FILE, EXAMPLE_FILE)


def _sizes(text: str) -> list[int]:
    words = text.replace("x", ",").split(",")
    if len(words) != 3 or not all(re.fullmatch(r"\s*[0-9]{1,4}\s*", word) and 1 <= int(word) <= 4096 for word in words):
        raise typer.BadParameter(f"--input takes channels, height and width as 3,32,32, at most 4096, got '{text}'")
    return [int(word) for word in words]


def _print(loaded: "LoadedPreset", found: "Inspection", costs: "list[MethodCost]") -> None:
    preset = loaded.preset
    layers = f"{found.neuron_layers} neuron {'layer' if found.neuron_layers == 1 else 'layers'}"
    title = f"{preset.model.name} · {fmt.thousands(found.parameters)} parameters · {layers}"
    print_rich(styled("[bold]{}[/]", title))
    for note in found.notes:
        print_rich(styled("[dim]{}[/]", paragraph(note)))
    if not found.neuron_layers:
        say("[yellow]no neuron layers: without neuron() this is not a spiking network[/]")
    if found.missing:
        print_rich(styled("[red]✗[/] these operations cannot be trained through:"))
        print_rich(_missing_table(found))
        say("[dim]all supported operations: docs/own-network.md[/]")
        return
    for kind in found.neurons:
        say("[green]✓[/] {}: keeps to itself, fires, resets; its derivatives are finite, and those of BPTT", kind)
    print_rich(styled("[green]✓[/] every operation has a rule\n"))
    print_rich(_agreement_table(found))
    say_methods()
    if loaded.preset.probes.own:
        logged = "   ".join(f"{name} {fmt.number(value)}" for name, value in found.metrics.items())
        say("\n{} logs {}", loaded.preset.probes.own, logged or "nothing")
    print_rich("")
    print_rich(_cost_table(loaded, costs))


def _missing_table(found: "Inspection") -> "Table":
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for missing in found.missing:
        remedy = missing.why or "no rule: the mean over time does not pass through it"
        table.add_row(cell(missing.module), styled("[bold]{}[/]", missing.operation), cell(missing.line), remedy)
    return table


def _agreement_table(found: "Inspection") -> "Table":
    from rbp_tui.text.text_table import empty_table

    table = empty_table(["cosine to BPTT's gradient"], ["rate_M", "rate_S"])
    for agreement in found.layers:
        table.add_row(cell(agreement.layer), *_cosines(agreement))
    if found.overall is not None:
        table.add_row(styled("[bold]{}[/]", found.overall.layer), *_cosines(found.overall))
    return table


def _cosines(agreement: "Agreement") -> list[str]:
    return ["gradient 0" if value is None else f"{value:.3f}" for value in (agreement.rate_m, agreement.rate_s)]


def _cost_table(loaded: "LoadedPreset", costs: "list[MethodCost]") -> "Table":
    from rich.table import Column

    from rbp_tui.text.cost_text import span
    from rbp_tui.text.text_table import empty_table

    batch, timesteps = loaded.preset.data.batch_size, loaded.preset.method.timesteps
    heads = ("step", "memory", "time", "memory", f"largest B, T = {timesteps}", f"largest T, B = {batch}")
    numbers = [Column(head, justify="right") for head in heads]
    table = empty_table([f"B = {batch}, T = {timesteps}", *numbers])
    for cost in costs:
        ratios = [f"{cost.time_ratio:.2f}", f"{cost.memory_ratio:.2f}"]
        largest = [_at_most(value) for value in (cost.largest_batch, cost.largest_timesteps)]
        table.add_row(fmt.method(cost.method), span(cost.seconds), fmt.size(cost.memory), *ratios, *largest)
    return table


def _at_most(value: int | None) -> str:
    """What fits, up to LARGEST_SHOWN; a larger figure would be a mere extrapolation."""
    if value is None:
        return "any"
    return str(value) if value <= LARGEST_SHOWN else f"more than {LARGEST_SHOWN}"


def _command(typed: Sequence[str], sizes: Sequence[int], classes: int) -> str:
    """The command that trains what was tried, on the first preset whose images have its size and classes."""
    from rbp_engine.preset import PresetError, list_presets, load_preset

    for entry in list_presets():
        data = CATALOG.get(entry.group)
        if data and ([data.channels, *data.image_size], data.classes) == (list(sizes), classes):
            with suppress(PresetError):
                load_preset(entry.name, typed)
                return shlex.join(["rbp", "train", entry.name, *typed])
    return f"{shlex.join(['rbp', 'train', 'PRESET', *typed])}, on a preset of your data (rbp presets list)"
