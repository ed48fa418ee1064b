"""`rbp presets`: list them, show one in full, check them, explain every field."""

import json
import shlex
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbp_engine.printable import visible
from rbp_tui.cli import completion
from rbp_tui.cli.command_group import CommandGroup, Typer
from rbp_tui.cli.options import SET_UP, Json
from rbp_tui.cli.output import cell, console, fail, print_json, print_rich, say, say_methods
from rbp_tui.cli.presets import files
from rbp_tui.cli.settings_command import PresetName, Settings, SettingsCommand
from rbp_tui.text import format as fmt
from rbp_tui.text.styled import styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table
    from rich.text import Text

    from rbp_engine.preset import FieldInfo, PresetEntry, Problem


def register(app: typer.Typer) -> None:
    group = Typer(
        cls=CommandGroup, name="presets", help="List, show, check, write and compare presets.", no_args_is_help=True
    )
    group.command("list", epilog="Examples:  rbp presets list   ·   rbp presets list --json | jq '.[].name'")(listing)
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


def listing(as_json: Json = False) -> None:
    """List the presets by data set; "paper %" is the published top-1 accuracy for that method and T."""
    from rbp_engine.preset import list_presets

    # Presets whose data set cannot be read come last.
    rows = [_as_json(entry) for entry in sorted(list_presets(), key=lambda entry: not entry.group)]
    if as_json:
        print_json(rows)
        return
    print_rich(_list_table(rows))
    say_methods()
    if broken := [row["name"] for row in rows if row["problems"]]:
        say("[red]✗[/] what is wrong: rbp presets check {}", shlex.join(broken))
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
            "sweep": None if loaded.sweep is None else loaded.sweep.as_toml_values(),
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
    from rbp_tui.text.setting_words import short_name

    if key == "sweep":  # no field of a run
        _print_sweep_keys(as_json=as_json)
        return
    chosen = fields() if key is None else _fields_called(key)
    if not chosen:
        raise typer.Exit(fail(f"no field or section of a preset is called '{key}'.{_nearest_field(str(key))}", 2))
    if as_json:
        print_json([asdict(info) | {"short": short_name(info)} for info in chosen])
    else:
        print_rich(_schema_table(chosen))


def _print_sweep_keys(*, as_json: bool) -> None:
    from rich.table import Table

    from rbp_engine.preset.sweep.check import sweep_fields

    texts = {info.key: f"{info.type.capitalize()}: {info.text}" for info in sweep_fields()}
    if as_json:
        print_json([{"key": key, "text": text} for key, text in texts.items()])
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, text in texts.items():
        table.add_row(styled("[bold]{}[/]", key), cell(text))
    print_rich(table)


def _as_json(entry: "PresetEntry") -> dict[str, Any]:
    """A preset as JSON; unknown values of a broken one are None."""
    from rbp_engine.data.catalog import is_catalogued, presence
    from rbp_engine.report.paper import published

    row: dict[str, Any] = {
        "name": entry.name,
        "title": entry.title,
        "path": entry.path,
        "data": entry.group,
        "data_here": presence(entry.group).found if is_catalogued(entry.group) else None,
        "problems": [asdict(problem) for problem in entry.problems],
    }
    preset = entry.preset
    if preset is None:
        return row | dict.fromkeys(("network", "method", "timesteps", "epochs", "paper_top1"))
    return row | {
        "network": preset.model.name,
        "method": preset.method.name,
        "timesteps": preset.method.timesteps,
        "epochs": preset.train.epochs,
        "paper_top1": published(preset),
    }


def _list_table(rows: list[dict[str, Any]]) -> "Table":
    from rich.table import Column, Table

    table = Table(
        Column("preset", overflow="fold"),
        Column(max_width=_room_for_titles(rows)),
        Column("network", no_wrap=True),
        Column("method", no_wrap=True),
        Column("T", justify="right", no_wrap=True),
        Column("epochs", justify="right", no_wrap=True),
        Column("paper %", justify="right", no_wrap=True),
        box=None,
        pad_edge=False,
        collapse_padding=True,
        header_style="dim",
    )
    for group, members in groupby(rows, key=lambda row: row["data"]):
        presets = list(members)
        here = {
            True: styled("[green]✓[/] data here"),
            False: styled("[dim]data not here[/]"),
            None: styled(""),
        }[presets[0]["data_here"]]
        table.add_row(styled("[bold]{}[/]", group or "unreadable"), "", here)
        for row in presets:
            table.add_row(*_list_cells(row))
    return table


def _room_for_titles(rows: list[dict[str, Any]]) -> int:
    """The width that the other cells leave; only very long names are shortened for titles."""
    name = max((len(row["name"]) + 2 for row in rows), default=0)
    network = max((len(row["network"] or "") for row in rows), default=0)
    others = min(name, 40) + max(network, len("data not here")) + len(" rate_M 100 epochs paper % ") + 1
    return max(console().width - others, 1)


def _list_cells(row: dict[str, Any]) -> "list[str | Text]":
    from rich.text import Text

    name = f"  {cell(row['name'])}"
    if count := len(row["problems"]):
        return [name, "", Text(f"✗ {fmt.counted(count, 'problem')}", style="red")]
    paper = row["paper_top1"]
    return [
        name,
        # If space is short, the title is cut first.
        Text(cell(row["title"]), style="dim", no_wrap=True, overflow="ellipsis"),
        cell(row["network"]),
        fmt.method(row["method"]),
        str(row["timesteps"]),
        str(row["epochs"]),
        "unknown" if isinstance(paper, str) else fmt.percent(paper),
    ]


def _fields_called(word: str) -> "list[FieldInfo]":
    """The fields of a section, key, short name or last part of a key: the first of these that matches."""
    from rbp_engine.preset import SHORT_NAMES, fields

    known = fields()
    return (
        [info for info in known if info.key == word or info.key.startswith((f"{word}.", f"{word}[]."))]
        or [info for info in known if info.key == SHORT_NAMES.get(word)]
        or [info for info in known if _last(info) == word]
    )


def _nearest_field(word: str) -> str:
    from rbp_engine.preset import SHORT_NAMES, fields
    from rbp_engine.settings.spelling import did_you_mean

    known = fields()
    sections = {info.key.partition(".")[0] for info in known}
    return did_you_mean(word, [*SHORT_NAMES, *sections, *(info.key for info in known), *map(_last, known)])


def _last(info: "FieldInfo") -> str:
    return info.key.rpartition(".")[2]


def _schema_table(chosen: "Sequence[FieldInfo]") -> "Table":
    from rich.table import Column

    from rbp_tui.text.setting_words import rule
    from rbp_tui.text.table import empty_table

    table = empty_table(["field", "default", Column("meaning")])
    for info in chosen:
        meaning = styled("{}\n[dim]{}[/]", info.text, rule(info))
        table.add_row(info.key, json.dumps(info.default), meaning)
    return table
