"""`rbp runs prune`: remove checkpoints by a rule; shows first what would go."""

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rbp_engine.run.files.layout import RunDirectory, short_id
from rbp_tui.cli.options import Json, RunsDir
from rbp_tui.cli.output import cell, print_json, print_rich, say
from rbp_tui.cli.runs.choice import Runs, Yes, on_each, select
from rbp_tui.cli.trust import Trust
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import status_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from rbp_engine.run.store.prune import Pruning
    from rbp_engine.run.store.store import RunRecord


def prune(
    runs: Runs,
    keep: Annotated[
        Literal["best", "last", "both", "none"],
        typer.Option(help="Which checkpoints stay. Without the last, they cannot be continued."),
    ] = "both",
    yes: Yes = False,
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Remove the checkpoints of completed runs that are no longer needed, for good. Shows what would go, and asks.

    Without a terminal and without --yes, nothing goes.
    """
    from rbp_engine.run.store.prune import plan_pruning
    from rbp_engine.run.store.prune import prune as remove
    from rbp_engine.run.store.store import record

    best, last = keep in ("best", "both"), keep in ("last", "both")

    def plan_one(run: RunDirectory) -> "tuple[Pruning, RunRecord]":
        return plan_pruning(found := record(run), keep_best=best, keep_last=last), found

    planned, code = on_each(select(runs, runs_dir), plan_one)
    plans, going = [plan for plan, _ in planned], [one for one in planned if one[0].removed]
    size, count = fmt.size(sum(plan.frees for plan, _ in going)), fmt.counted(len(going), "run")
    if as_json:
        shown = ("removed", "kept", "frees", "why_more")
        print_json([{"id": plan.run.id} | {name: getattr(plan, name) for name in shown} for plan in plans])
    else:
        _show(plans, going)
    if not going:
        raise typer.Exit(code)
    if not yes and not sys.stdin.isatty():
        say("{} in {}; --yes removes that", size, count)
        raise typer.Exit(code)
    if not yes:
        typer.confirm(f"Remove checkpoints of {count}, {size}, for good?", abort=True, err=True)
    done, refused = on_each(going, lambda one: remove(one[0]), trust=trust)
    say("removed {} in {}", fmt.size(sum(done)), fmt.counted(len(done), "run"))
    raise typer.Exit(refused or code)


def _show(plans: "Sequence[Pruning]", going: "Sequence[tuple[Pruning, RunRecord]]") -> None:
    if going:
        print_rich(_table(going))
    for plan in plans:
        if plan.why_more:
            say("[dim]{} stays{}: {}[/]", plan.run.id, ", in part" if plan.removed else "", plan.why_more)
    if not going:
        say("nothing to remove of {}", fmt.counted(len(plans), "run"))


def _table(going: "Sequence[tuple[Pruning, RunRecord]]") -> "Table":
    from rich.table import Column
    from rich.text import Text

    from rbp_tui.text.text_table import empty_table

    folded = [Column(heading, overflow="fold") for heading in ("goes", "stays")]
    table = empty_table([Column("run"), "id", "status", *folded], ["frees"])
    for plan, record in going:
        what = (", ".join(plan.removed), ", ".join(plan.kept))
        called = Text(cell(record.summary.called), no_wrap=True, overflow="ellipsis")
        status = status_text(record.verdict.shown_status)
        table.add_row(called, cell(short_id(plan.run.id)), status, *map(cell, what), fmt.size(plan.frees))
    return table
