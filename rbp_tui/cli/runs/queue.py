"""`rbp queue`: runs that wait for a device of this host, their order, and the devices."""

from pathlib import Path
from typing import Annotated

import typer

from rbp_engine.run.files.layout import RunDirectory, is_called, short_id
from rbp_engine.settings.machine import runs_directory
from rbp_tui.cli.command_group import CommandGroup, Typer
from rbp_tui.cli.options import TRAIN, Json, RunsDir
from rbp_tui.cli.output import print_json, print_rich, say
from rbp_tui.cli.runs.choice import QueuedRuns, select
from rbp_tui.text.run_text import PAUSED, named


def register(app: typer.Typer) -> None:
    group = Typer(
        name="queue",
        cls=CommandGroup,
        help="Show which runs wait for a device of this host, and change their order.",
        epilog="Examples:  rbp train digits --seeds 1,2,3 --detach   ·   rbp queue --json   ·   "
        "rbp queue move 3f2a --first   ·   rbp queue pause",
        invoke_without_command=True,
    )
    group.callback()(queue)
    group.command(epilog="Examples:  rbp queue move 3f2a --first   ·   rbp queue move 3f2a 9c01 --last")(move)
    group.command()(pause)
    group.command()(go)
    app.add_typer(group, rich_help_panel=TRAIN)


def queue(
    context: typer.Context,
    as_json: Json = False,
) -> None:
    """Show which runs wait for a device of this host and why, which run on one, and which devices are free."""
    if context.invoked_subcommand is not None:
        return
    from rbp_engine.run.queue.entries import entries_elsewhere, read_queue
    from rbp_engine.run.queue.observe import is_paused, queued_runs
    from rbp_engine.run.queue.transitions import is_stranded
    from rbp_engine.run.start import ensure_dispatcher
    from rbp_tui.cli.runs.queue_view import queue_plain, queue_table

    ensure_dispatcher()
    runs, damaged, paused = queued_runs(), read_queue()[1], is_paused()
    if as_json:
        print_json(queue_plain(runs, damaged))
        return
    if runs or damaged:
        print_rich(queue_table(runs, damaged, paused=paused))
    else:
        say("the queue of this host is empty; to fill it: rbp train digits --seeds 1,2,3")
        if paused:
            say("[yellow]{}[/]", PAUSED)
    for path, run in entries_elsewhere():  # one of these hosts may be this one, under an earlier name
        if is_stranded(run):
            say(
                "{} waits in the queue of {}, which nothing serves: rbp resume {} queues it here",
                short_id(run.id),
                path.parent.parent.name,
                short_id(run.id),
            )


def move(
    runs: QueuedRuns,
    first: Annotated[bool, typer.Option("--first", help="Before all others.")] = False,
    last: Annotated[bool, typer.Option("--last", help="Behind all others.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Move waiting runs in the queue."""
    from rbp_engine.run.queue import arrange

    chosen = waiting(runs, runs_dir)
    if first is last:
        raise typer.BadParameter("say where: --first or --last")
    arrange.move(chosen, first=first)
    say("moved {} to the {}", named(chosen), "front" if first else "end")


def pause() -> None:
    """Start nothing more until rbp queue go. Runs that have started go on."""
    from rbp_engine.run.queue import arrange

    already = "" if arrange.set_paused(True) else " already"
    say("the queue of this host is paused{}; what runs goes on, and rbp queue go ends it", already)


def go() -> None:
    """End a pause of the queue."""
    from rbp_engine.run.queue import arrange
    from rbp_engine.run.start import ensure_dispatcher

    say("the queue goes on" if arrange.set_paused(False) else "the queue of this host is not paused")
    ensure_dispatcher()


def waiting(words: list[str], runs_dir: Path | None) -> list[RunDirectory]:
    """The runs of a runs directory that references and queries name; what waits in the queue comes before the others.

    Another runs directory may have runs of the same ids: those of a sweep's points come from the experiment.
    """
    from rbp_engine.run.queue.entries import entries

    place, known = runs_directory(runs_dir).resolve(), [entry.run for entry in entries()]
    matching = {word: [run for run in known if run.path.parent == place and is_called(run.id, word)] for word in words}
    others = [word for word, found in matching.items() if len(found) != 1]
    here = [found[0] for found in matching.values() if len(found) == 1]
    return list(dict.fromkeys([*here, *(select(others, runs_dir) if others else ())]))
