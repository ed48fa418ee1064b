"""`rbp data`: list, add, fetch, convert and check data sets."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbp_engine.data.catalog import CATALOG, DataSet, Presence, catalogued, is_catalogued, known_here
from rbp_engine.run.launch.environment import module_command
from rbp_engine.settings.machine import add_data_root, made_cache_directory
from rbp_engine.settings.spelling import did_you_mean
from rbp_tui.cli import completion
from rbp_tui.cli.command_group import CommandGroup, Typer
from rbp_tui.cli.options import SET_UP, Json
from rbp_tui.cli.output import fail, print_json, print_rich, say
from rbp_tui.cli.progress import end_on_sigterm, progress
from rbp_tui.cli.settings_command import Settings
from rbp_tui.text import format as fmt
from rbp_tui.text.styled import paragraph, styled

if TYPE_CHECKING:
    from rich.text import Text

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A data set (rbp data list shows them).",
        show_default=False,
        autocompletion=completion.data_sets,
    ),
]


def register(app: typer.Typer) -> None:
    group = Typer(
        cls=CommandGroup, name="data", help="List, add, fetch, convert and check data sets.", no_args_is_help=True
    )
    group.command("list", epilog="Example:  rbp data list --json | jq '.[] | select(.found) | .name'")(listing)
    group.command(epilog="Example:  rbp data check digits cifar10")(check)
    group.command(epilog="Example:  rbp data add cifar10 ~/datasets")(add)
    group.command(epilog="Example:  rbp data fetch cifar10")(fetch)
    group.command(epilog="Example:  rbp data convert cifar10-dvs-vggsnn T=10")(convert)
    app.add_typer(group, rich_help_panel=SET_UP)


def listing(as_json: Json = False) -> None:
    """List every data set: what it is, and where it is or how to get it."""
    found = {name: catalogued(name).find() for name in known_here()}
    if as_json:
        print_json([_as_json(catalogued(name), here) for name, here in found.items()])
        return
    from rich.table import Column, Table

    table = Table.grid(Column(no_wrap=True), Column(no_wrap=True), Column(overflow="fold"), padding=(0, 1))
    for name, here in found.items():
        sign = styled("[green]✓[/]" if here.found else "[yellow]✗[/]")
        table.add_row(sign, styled("[bold]{}[/]", name), _describe(catalogued(name), here))
    print_rich(table)


def add(
    name: Name,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that contains it.", show_default=False)],
) -> None:
    """Record in machine.toml where a data set is on this machine."""
    _refuse_unknown(name)
    if catalogued(name).module:
        raise typer.Exit(
            fail(f"{name} comes with a Python package: {catalogued(name).find().remedy or 'it is here'}", 2)
        )
    folder = Path(os.path.expanduser(folder))  # noqa: PTH111  # pathlib raises for an unknown ~user
    looked = catalogued(name).find([folder.absolute()])
    if not looked.found:
        raise typer.Exit(fail(f"{name} is not in {folder}: looked for {catalogued(name).layout}", 3))
    say("{} is here; recorded in {}", name, add_data_root(name, folder))


def fetch(name: Name) -> None:
    """Download a data set into the cache; no other command downloads anything."""
    _refuse_unknown(name)
    here = catalogued(name).find()
    if here.found:
        say("{} is here already: {}", name, here.path or catalogued(name).origin)
        return
    if not catalogued(name).download:
        raise typer.Exit(fail(f"'{name}' cannot be downloaded from here: {here.remedy}", 2))
    command = module_command("rbp_engine.data.fetch", name, str(made_cache_directory() / "data"))
    # What torchvision prints is progress.
    if code := subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise typer.Exit(code)
    say("{} is here: {}", name, catalogued(name).find().path)


def convert(
    preset: Annotated[
        str,
        typer.Argument(
            metavar="PRESET",
            help="A preset on recordings of events, which has the settings.",
            show_default=False,
            autocompletion=completion.presets,
        ),
    ],
    overrides: Settings = None,
) -> None:
    """Decode recordings of events into frames now, instead of at the start of the first run.

    All are tried. If some cannot be read, each is named with the reason, and none are kept: exit code 1.
    """
    from rbp_engine import child
    from rbp_engine.preset import load_preset

    loaded = load_preset(preset, overrides or [])
    data = loaded.preset.data
    wanted = CATALOG[data.name].wanted(data, loaded.preset.method.timesteps) if data.name in CATALOG else None
    if wanted is None:
        raise typer.BadParameter(f"{loaded.name} is on {data.name}, which needs no conversion")
    places = [str(catalogued(data.name).require().path), str(made_cache_directory() / "events")]
    command = module_command("rbp_engine.data.events.convert", data.name, *places, json.dumps(asdict(wanted)))
    what = "decoding the recordings into the cache: minutes for all of them, nothing to do if that was done before"
    with progress(what) as on_progress:
        answer = child.ask(command, os.environ, what="the conversion", on_progress=on_progress)
    for problem in answer.get("unreadable", []):
        say("[red]✗[/] {}", problem)
    if "unreadable" in answer:
        raise typer.Exit(fail(answer["message"], 1))
    say("converted into {}", answer["folder"])


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Data sets; all that are here if none is named.",
            autocompletion=completion.data_sets,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read data sets in full and check that nothing is missing or damaged.

    Exit code 0: undamaged, 1: damaged, 2: no such data set, 3: a named one is not here.
    """
    from rbp_engine import child

    here = known_here()  # reads machine.toml: in the process that checks, an error in it would be a traceback
    for name in names or []:
        _refuse_unknown(name)
    chosen = list(dict.fromkeys(names or [name for name in here if catalogued(name).find().found]))
    if not as_json:
        say("[dim]reading {}[/]", ", ".join(chosen) or "nothing: no data set is here")
    end_on_sigterm()
    # In a separate process: to read some of them loads torch.
    problems = child.ask(module_command("rbp_engine.data.check", *chosen), os.environ, what="the check")
    if as_json:
        print_json(problems)
    else:
        for name in chosen:
            _print_result(name, problems[name])
    missing = any(not catalogued(name).find().found for name in chosen)
    raise typer.Exit(3 if missing else 1 if any(problems.values()) else 0)


def _as_json(data_set: DataSet, here: Presence) -> dict[str, Any]:
    shown = ["name", "title", "origin", "layout"]
    if data_set.classes:
        shown += ["classes", "channels", "image_size", "train_size", "test_size"]
    return {name: getattr(data_set, name) for name in shown} | {
        name: getattr(here, name) for name in ("found", "path", "looked", "remedy")
    }


def _describe(data_set: DataSet, here: Presence) -> "Text":
    """Two lines: what it is; where it is, or how to get it."""
    height, width = data_set.image_size
    train, test = fmt.thousands(data_set.train_size), fmt.thousands(data_set.test_size)
    known = f" · {data_set.classes} classes · {train} train, {test} test · {height}×{width}×{data_set.channels}"
    what = data_set.title + (known if data_set.classes else "")
    where = here.remedy or (data_set.origin if here.path is None else str(here.path))
    return styled("{}\n[dim]{}[/]" if here.found else "{}\n[yellow]{}[/]", what, where)


def _refuse_unknown(name: str) -> None:
    if is_catalogued(name):
        return
    there_are = f"There are: {', '.join(CATALOG)}, and folder:NAME for images in your own folders"
    raise typer.Exit(fail(f"no data set is called '{name}'.{did_you_mean(name, CATALOG)} {there_are}", 2))


def _print_result(name: str, problems: list[str]) -> None:
    print_rich(styled("[red]✗[/] {}" if problems else "[green]✓[/] {} is whole", name))
    for problem in problems:
        print_rich(styled("  {}", paragraph(problem)), soft_wrap=True)
