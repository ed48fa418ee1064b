"""`rbp runs disk`: what runs use on the disk."""

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated

import typer

from rbp_tui.cli.options import Json, RunsDir
from rbp_tui.cli.output import cell, print_json, print_rich, say
from rbp_tui.cli.runs.choice import SomeRuns, select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from rbp_engine.run.store.disk_use import DiskUse
    from rbp_engine.run.store.store import RunRecord


def disk(
    runs: SomeRuns = None,
    limit: Annotated[
        int | None, typer.Option("-n", "--limit", metavar="N", min=1, help="Only the N largest.", show_default=False)
    ] = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """What runs use on the disk, the largest first: checkpoints, events, logs. Those in the archive are among them.

    A file with several names counts once: "best" is what the best checkpoint needs beside the others.
    """
    from rbp_engine.run.store.disk_use import DiskUse, disk_use, folder_size
    from rbp_engine.run.store.store import list_runs, record
    from rbp_engine.run.store.trash import trash_directory
    from rbp_engine.settings.machine import runs_directory
    from rbp_tui.text import format as fmt

    directory = runs_directory(runs_dir)
    records = list(map(record, select(runs, runs_dir, archived=True))) if runs else list_runs(directory)
    used = sorted(((disk_use(one.run), one) for one in records), key=lambda pair: (-pair[0].total, pair[1].run.id))
    shown = used[:limit]
    if as_json:
        print_json([{"id": one.run.id, "total": use.total} | asdict(use) for use, one in shown])
        return
    if not used:
        say("no runs in {} yet; begin with: rbp train digits", directory)
        return
    whole = DiskUse(**{part.name: sum(getattr(use, part.name) for use, _ in used) for part in fields(DiskUse)})
    print_rich(_table(shown, whole, len(used)))
    if not runs and (trashed := folder_size(trash_directory(directory))):
        say("[dim]{} more in the trash: rbp runs trash --empty[/]", fmt.size(trashed))


def _table(used: "Sequence[tuple[DiskUse, RunRecord]]", whole: "DiskUse", count: int) -> "Table":
    """A line for each run, and one for all; without parts that no run has."""
    from rich.table import Table
    from rich.text import Text

    from rbp_tui.text import format as fmt
    from rbp_tui.text.run_text import short

    parts = [name for name, size in asdict(whole).items() if size]
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column("run")
    table.add_column("id", no_wrap=True)
    for heading in ("total", *parts):
        table.add_column(heading, justify="right", no_wrap=True)
    for use, record in used:
        sizes = [fmt.size(getattr(use, name)) for name in parts]
        named = Text(cell(record.summary.called if record.readable else ""), no_wrap=True, overflow="ellipsis")
        table.add_row(named, cell(short(record.run.id)), fmt.size(use.total), *sizes)
    if count > 1:
        sizes = [fmt.size(getattr(whole, name)) for name in parts]
        table.add_row(f"all {count} runs", "", fmt.size(whole.total), *sizes, style="bold")
    return table
