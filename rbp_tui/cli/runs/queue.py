"""`rbp queue`: runs that wait for a device of this host."""

import functools
from typing import TYPE_CHECKING

import typer

from rbp_tui.cli.command_group import CommandGroup
from rbp_tui.cli.options import Json, RunsDir
from rbp_tui.cli.output import cell, print_json, print_rich, say
from rbp_tui.cli.runs.choice import QueuedRuns, select
from rbp_tui.cli.trust import Trust, once_trusted

if TYPE_CHECKING:
    from rich.table import Table

    from rbp_engine.run.queue.entries import DamagedEntry
    from rbp_engine.run.queue.positions import QueuedRun


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        name="queue",
        cls=CommandGroup,
        help="Show which runs wait for a device of this host, and remove runs.",
        epilog="Examples:  rbp train digits --seeds 1,2,3 --detach   ·   rbp queue   ·   rbp queue rm 3f2a",
        invoke_without_command=True,
    )
    group.callback()(queue)
    group.command(epilog="Examples:  rbp queue rm 3f2a   ·   rbp queue rm 'status:queued data:cifar10'")(rm)
    app.add_typer(group)


def queue(context: typer.Context, as_json: Json = False) -> None:
    """Show which runs wait for a device of this host and why, and which run on one."""
    if context.invoked_subcommand is not None:
        return
    from rbp_engine.run.queue.entries import damaged_entries
    from rbp_engine.run.queue.positions import queued_runs
    from rbp_engine.run.start import ensure_dispatcher

    ensure_dispatcher()
    runs, damaged = queued_runs(), damaged_entries()
    if as_json:
        print_json([as_plain(run) for run in runs] + [damaged_as_plain(entry) for entry in damaged])
    elif runs or damaged:
        print_rich(queue_table(runs, damaged))
    else:
        say("the queue of this host is empty; to fill it: rbp train digits --seeds 1,2,3")


def rm(runs: QueuedRuns, trust: Trust = False, runs_dir: RunsDir = None) -> None:
    """Remove waiting runs and damaged entries from the queue; rbp resume puts runs back."""
    from rbp_engine.run.errors import RunError
    from rbp_engine.run.queue.transitions import discard, withdraw
    from rbp_engine.run.status.status import judge

    for word in runs:
        discarded = discard(word)
        for run_id in discarded:
            say("removed the damaged entry of {} from the queue", run_id)
        try:
            chosen = select([word], runs_dir)
        except RunError:
            if not discarded:
                raise
            continue  # the run of a damaged entry may be gone, or in another folder
        for run in chosen:
            if once_trusted(functools.partial(withdraw, run), trust=trust):
                say("removed {} from the queue", run.id)
            elif not discarded:
                raise RunError(f"{run.id} is not queued, it is {judge(run).status}: rbp stop {run.id}")


def as_plain(queued: "QueuedRun") -> dict[str, object]:
    """A run of the queue for JSON."""
    return {
        "id": queued.run.id,
        "path": str(queued.run.path),
        "position": queued.position or None,
        "status": queued.verdict.status,
        "devices": queued.devices,
        "takes": queued.takes,
        "behind": queued.behind,
        "held": queued.held,
    }


def damaged_as_plain(entry: "DamagedEntry") -> dict[str, object]:
    """A damaged entry for JSON; the other values of its run are unknown."""
    return {
        "id": entry.id,
        "path": str(entry.path),
        "position": None,
        "status": "damaged",
        "reason": entry.why,
        "devices": [],
        "takes": 0,
        "behind": [],
        "held": {},
    }


def queue_table(runs: "list[QueuedRun]", damaged: "list[DamagedEntry]") -> "Table":
    """One row per run: its position, or where it runs; and per damaged entry: what is wrong with it."""
    from rich.table import Table

    from rbp_engine.run.files.summary import read_summary
    from rbp_tui.text.run_text import status_text, title

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", justify="right")
    table.add_column("run", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("", overflow="fold")
    for queued in runs:
        summary = read_summary(queued.run)
        named = title(summary) if summary else queued.run.id
        table.add_row(str(queued.position or ""), cell(named), status_text(queued.verdict.status), cell(_where(queued)))
    for entry in damaged:
        table.add_row("", cell(entry.id), status_text("damaged"), cell(f"{entry.why}: rbp queue rm {entry.id}"))
    return table


def _where(queued: "QueuedRun") -> str:
    """Where it runs, or what it waits for."""
    from rbp_tui.text.run_text import short

    if not queued.position:
        return f"on {', '.join(queued.devices)}" if queued.devices else ""
    if queued.devices:
        return queued.verdict.reason  # it keeps them until it starts again
    if queued.behind:
        return f"behind {', '.join(map(short, queued.behind))}"
    if queued.pool - len(queued.held) >= queued.takes:
        return "starts in a moment"
    held = ", ".join(f"{short(run)} has {device}" for device, run in queued.held.items())
    return held if queued.takes == 1 else f"needs {queued.takes}; {held}"
