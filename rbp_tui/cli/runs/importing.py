"""`rbp import`: runs of other programs, from files of TensorBoard and CSV."""

from pathlib import Path
from typing import Annotated

import typer

from rbp_engine.printable import one_line
from rbp_engine.settings.machine import runs_directory
from rbp_tui.cli.options import KEEP, Json, RunsDir
from rbp_tui.cli.output import print_json, say


def register(app: typer.Typer) -> None:
    app.command(
        "import",
        rich_help_panel=KEEP,
        epilog="Examples:  rbp import logs/   ·   rbp import metrics.csv --name theirs --tag cifar10 --percent",
    )(import_)


def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Folders with TensorBoard's files, each a run; or such a file, or one of CSV.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str, typer.Option(help="The runs' name (else that of the folder or file).", show_default=False)
    ] = "",
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag; may be repeated.", show_default=False)
    ] = None,
    percent: Annotated[bool, typer.Option("--percent", help="Accuracies are percentages, also those below 1.")] = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Make runs of what other programs have logged, to compare them with those of rbp.

    The same content is one run, however often it is imported; with another name, other tags or --percent it replaces
    the run before. What cannot be imported is named, and the exit code is then 1.
    """
    from rbp_engine.run.errors import RunError
    from rbp_engine.run.importing import import_runs

    found = import_runs(paths, runs_directory(runs_dir), name=name, tags=tags or (), percent=percent)
    made = [one for one in found if not isinstance(one, RunError)]
    if as_json:
        print_json(
            [{"id": one.run.id} | {key: value for key, value in vars(one).items() if key != "run"} for one in made]
        )
    for one in () if as_json else made:
        if one.new:
            say("imported {}: {}, {} curves, {} numbers", one.run.id, one.name, one.curves, one.numbers)
        else:
            say("{} is there already: {}", one.run.id, one.name)
        for note in one.notes:
            say("  [yellow]{}[/]", one_line(note))
    for error in (one for one in found if isinstance(one, RunError)):
        say("[red]{}[/]", error)
    raise typer.Exit(1 if len(made) < len(found) else 0)
