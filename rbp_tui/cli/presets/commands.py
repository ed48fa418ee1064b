"""`rbp presets`: list them, show one in full, check them, explain every field."""

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rbp_engine.printable import visible
from rbp_tui.cli import completion
from rbp_tui.cli.command_group import CommandGroup, Typer
from rbp_tui.cli.options import SET_UP, Json
from rbp_tui.cli.output import fail, print_json, print_rich, say, say_methods
from rbp_tui.cli.presets import files
from rbp_tui.cli.settings_command import PresetName, Settings, SettingsCommand
from rbp_tui.text import format as fmt
from rbp_tui.text.styled import styled

if TYPE_CHECKING:
    from rbp_engine.preset import Problem


def register(app: typer.Typer) -> None:
    group = Typer(
        cls=CommandGroup, name="presets", help="List, show, check, write and compare presets.", no_args_is_help=True
    )
    group.command("list", epilog="Examples:  rbp presets list --all   ·   rbp presets list --json | jq '.[].name'")(
        listing
    )
    group.command(
        cls=SettingsCommand,
        epilog="Examples:  rbp presets show cifar10-resnet18 T=6   ·   rbp presets show digits lr=0.05 > mine.toml",
    )(show)
    group.command(epilog="Examples:  rbp presets check   ·   rbp presets check mine.toml digits")(check)
    group.command(epilog="Examples:  rbp presets schema   ·   rbp presets schema optim   ·   rbp presets schema T")(
        schema
    )
    files.register(group)
    app.add_typer(group, rich_help_panel=SET_UP)


def listing(
    everything: Annotated[
        bool, typer.Option("--all", help="Also presets whose data is not here; --json always.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List what can be trained here, by data set; "paper %" is the published top-1 accuracy for that method and T."""
    from rbp_engine.preset import list_presets
    from rbp_tui.cli.presets.tables import list_table, plain_entry

    # Presets whose data set cannot be read come last.
    rows = [plain_entry(entry) for entry in sorted(list_presets(), key=lambda entry: not entry.group)]
    if as_json:
        print_json(rows)
        return
    shown = [row for row in rows if everything or row["problems"] or row["data_here"] is not False]
    print_rich(list_table(shown))
    say_methods()
    if broken := [row["name"] for row in rows if row["problems"]]:
        say("[red]✗[/] what is wrong: rbp presets check {}", shlex.join(broken))
    if hidden := len(rows) - len(shown):
        say("[dim]left out, without data here: {} (rbp presets list --all)[/]", fmt.counted(hidden, "preset"))
    if any(row["data_here"] is False for row in rows):
        say("[dim]how to get the data that is not here: rbp data list[/]")


def show(
    preset: PresetName,
    overrides: Settings = None,
    as_json: Json = False,
) -> None:
    """Show every setting of a preset, defaults too, and which file and line supplied it.

    The output is a complete preset: saved to a file, it is the same experiment.
    """
    from rbp_engine.preset import load_preset
    from rbp_tui.cli.presets.text import preset_text

    loaded = load_preset(preset, overrides or [])
    if not as_json:
        print_rich(preset_text(loaded), soft_wrap=True)
        return
    print_json(
        {
            "name": loaded.name,
            "path": loaded.path,
            "preset": loaded.preset.model_dump(mode="json"),
            "sources": loaded.sources,
            "experiment": loaded.experiment,
            "sweep": None if loaded.sweep is None else loaded.sweep.written,
        }
    )


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PRESET",
            help="Names or paths; all presets if none is named.",
            autocompletion=completion.presets,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check presets and print every problem with its key and line.

    Exit code 0: all are valid, 2: one is not.
    """
    from rich.text import Text

    from rbp_engine.preset import PresetError, list_presets, load_preset

    # The path, not the name: a broken preset must be found where the list found it.
    chosen = [(name, name) for name in names or []] or [(entry.name, str(entry.path)) for entry in list_presets()]
    results = []
    for name, place in chosen:
        problems: tuple[Problem, ...] = ()
        text = styled("{} [green]ok[/]", name)
        try:
            load_preset(place)
        except PresetError as error:
            problems, text = error.problems, Text(visible(str(error)))
        results.append({"name": name, "ok": not problems, "problems": [asdict(problem) for problem in problems]})
        if not as_json:
            print_rich(text, soft_wrap=True)
    if as_json:
        print_json(results)
    raise typer.Exit(0 if all(result["ok"] for result in results) else 2)


def schema(
    key: Annotated[
        str | None,
        typer.Argument(
            help="A field, a section, or a short name; all fields if left out.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain the fields of a preset: default, type, bounds, unit, and role.

    Of the roles, "result" changes what is learned, "cost" only time or memory, "place" only where a run lives and
    what it is called.
    """
    from rbp_engine.preset import fields
    from rbp_tui.cli.presets.tables import fields_called, nearest_field, print_sweep_keys, schema_table
    from rbp_tui.text.setting_words import short_name

    if key == "sweep":  # no field of a run
        print_sweep_keys(as_json=as_json)
        return
    chosen = fields() if key is None else fields_called(key)
    if not chosen:
        raise typer.Exit(fail(f"no field or section of a preset is called '{key}'.{nearest_field(str(key))}", 2))
    if as_json:
        print_json([asdict(info) | {"short": short_name(info.key)} for info in chosen])
    else:
        print_rich(schema_table(chosen))
