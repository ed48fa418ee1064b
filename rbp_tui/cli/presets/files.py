"""`rbp presets new` and `diff`: write your own presets and compare them."""

from dataclasses import asdict
from typing import Annotated

import typer

from rbp_tui.cli import completion
from rbp_tui.cli.options import Json
from rbp_tui.cli.output import print_json, print_rich, say
from rbp_tui.cli.settings_command import PresetName, Settings


def register(group: typer.Typer) -> None:
    group.command(
        epilog="Examples:  rbp presets new wide --from cifar10-resnet18 T=6   ·   rbp presets new small epochs=5"
    )(new)
    group.command(epilog="Examples:  rbp presets diff wide   ·   rbp presets diff cifar10-resnet18 cifar100-resnet18")(
        diff
    )


def new(
    name: Annotated[str, typer.Argument(help="Its name, or the path of its file.", show_default=False)],
    words: Settings = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PRESET",
            help="The preset that it extends; the defaults if left out.",
            show_default=False,
            autocompletion=completion.presets,
        ),
    ] = None,
    user: Annotated[
        bool,
        typer.Option(
            "--user",
            help="Put it among your own presets, for every folder, not in ./presets; in a clone of rbp always.",
        ),
    ] = False,
) -> None:
    """Write a new preset that holds only what differs from another one."""
    from rbp_engine.preset.author import create_preset, place_of
    from rbp_engine.preset.find import is_path, shown

    target = place_of(name, for_user=user)
    create_preset(target, source, words or [])
    say(
        "wrote {}; next: $EDITOR {} · rbp train {}",
        shown(target),
        shown(target),
        shown(target) if is_path(name) else name,
    )


def diff(
    preset: PresetName,
    other: Annotated[
        str | None,
        typer.Argument(
            metavar="PRESET",
            help="The other preset; its parent if left out.",
            show_default=False,
            autocompletion=completion.presets,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the settings in which a preset differs from its parent, or from another preset.

    Of the roles, "result" changes what is learned, "cost" only time or memory, "place" only where a run lives.
    """
    from rbp_engine.preset import against_parent, differences, load_preset
    from rbp_tui.text.setting_words import settings_table

    here = load_preset(preset)
    if other is None:
        against, found = against_parent(here)
    else:
        there = load_preset(other)
        against, found = there.name, differences(here.preset, there.preset)
    if as_json:
        print_json({"here": here.name, "there": against, "differences": [asdict(setting) for setting in found]})
    elif found:
        print_rich(settings_table(found, here.name, against))
    else:
        say("{} has the same settings as {}", here.name, against)
