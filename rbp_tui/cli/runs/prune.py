"""`rbp runs prune`: remove checkpoints, or whole runs, by a rule; shows first what would go."""

import functools
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from rbp_tui.cli.options import Json, RunsDir
from rbp_tui.cli.output import cell, print_json, print_rich, say
from rbp_tui.cli.runs.choice import Runs, Yes, select
from rbp_tui.cli.trust import Trust, once_trusted
from rbp_tui.text import format as fmt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from rbp_engine.run.store.prune import Pruning
    from rbp_engine.run.store.store import RunRecord


class Keep(StrEnum):
    """Which checkpoints stay."""

    BEST = "best"
    LAST = "last"
    BOTH = "both"
    NONE = "none"


def prune(
    runs: Runs,
    keep: Annotated[
        Keep, typer.Option(help="Which checkpoints of completed runs stay. Without the last, they cannot be continued.")
    ] = Keep.BOTH,
    whole: Annotated[bool, typer.Option("--whole", help="Move whole runs to the trash, not checkpoints.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    yes: Yes = False,
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Remove the checkpoints of runs that are no longer needed, for good. Shows what would go, and asks.

    Nothing of a live run goes, and of one that has not completed nothing that rbp resume needs: the best checkpoint and
    the last two.

    With --whole, runs that have ended go to the trash, as by rbp runs rm.
    """
    from rbp_engine.run.store.prune import plan_pruning
    from rbp_engine.run.store.prune import prune as remove
    from rbp_engine.run.store.store import record
    from rbp_engine.run.store.trash import move_to_trash

    records = {run.id: record(run) for run in select(runs, runs_dir)}
    best, last = keep in (Keep.BEST, Keep.BOTH), keep in (Keep.LAST, Keep.BOTH)
    plans = [_whole(one) if whole else plan_pruning(one, keep_best=best, keep_last=last) for one in records.values()]
    going = [plan for plan in plans if plan.removed]
    if as_json:
        print_json([_plain(plan) for plan in plans])
    else:
        _show(plans, records, whole=whole)
    if dry_run or not going or not _agreed(going, whole=whole, yes=yes):
        return
    for plan in going:
        if whole:
            once_trusted(functools.partial(move_to_trash, plan.run), trust=trust)
        else:
            once_trusted(functools.partial(remove, plan), trust=trust)
    say("moved to the trash; rbp runs trash --empty frees its room" if whole else "removed")


def _whole(record: "RunRecord") -> "Pruning":
    """The plan that the whole run goes."""
    from rbp_engine.run.store.disk_use import disk_use
    from rbp_engine.run.store.prune import Pruning

    if record.verdict.live:
        return Pruning(record.run, why_more=f"it is {record.verdict.status}")
    return Pruning(record.run, (".",), (), disk_use(record.run).total)


def _show(plans: "Sequence[Pruning]", records: "dict[str, RunRecord]", *, whole: bool) -> None:
    going = [plan for plan in plans if plan.removed]
    if going:
        print_rich(_table(going, records, whole=whole))
        say("[dim]{} in {}[/]", *_totals(going))
    for plan in plans:
        if plan.why_more:
            say("[dim]{} stays{}: {}[/]", plan.run.id, ", in part" if plan.removed else "", plan.why_more)
    if not going:
        say("nothing to remove of {}", fmt.counted(len(plans), "run"))


def _table(going: "Sequence[Pruning]", records: "dict[str, RunRecord]", *, whole: bool) -> "Table":
    from rich.table import Table
    from rich.text import Text

    from rbp_tui.text.run_text import short, status_text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
    table.add_column("run")
    table.add_column("id", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("goes", overflow="fold")
    table.add_column("stays", overflow="fold")
    table.add_column("frees", justify="right", no_wrap=True)
    for plan in going:
        record = records[plan.run.id]
        what = ("the whole run", "") if whole else (", ".join(plan.removed), ", ".join(plan.kept))
        named = Text(cell(record.summary.called), no_wrap=True, overflow="ellipsis")
        status = status_text(record.verdict.shown_status)
        table.add_row(named, cell(short(plan.run.id)), status, *map(cell, what), fmt.size(plan.frees))
    return table


def _agreed(going: "Sequence[Pruning]", *, whole: bool, yes: bool) -> bool:
    """Whether the user wants that, who is asked unless `yes`."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise typer.BadParameter("say --yes to remove that without a terminal, or --dry-run only to see it")
    size, runs = _totals(going)
    question = f"Move {runs}, {size}, to the trash?" if whole else f"Remove checkpoints of {runs}, {size}, for good?"
    return typer.confirm(question, abort=True, err=True)


def _totals(going: "Sequence[Pruning]") -> tuple[str, str]:
    """How much that frees, and of how many runs."""
    return fmt.size(sum(plan.frees for plan in going)), fmt.counted(len(going), "run")


def _plain(plan: "Pruning") -> dict[str, object]:
    return {
        "id": plan.run.id,
        "removed": list(plan.removed),
        "kept": list(plan.kept),
        "frees": plan.frees,
        "why_more": plan.why_more,
    }
