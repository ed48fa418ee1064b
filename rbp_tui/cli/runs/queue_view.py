"""The queue as a table and as JSON."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Column
from rich.text import Text

from rbp_engine.run.files.layout import short_id
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.queue.entries import DamagedEntry
from rbp_engine.run.queue.observe import QueuedRun, device_uses
from rbp_tui.cli.output import cell
from rbp_tui.text.run_text import queue_text, status_text, title, where_queued
from rbp_tui.text.text_table import empty_table


def queue_plain(runs: Sequence[QueuedRun], damaged: Sequence[DamagedEntry]) -> list[dict[str, object]]:
    """Each run and each damaged entry for JSON; of a damaged one, the other values of its run are unknown."""
    plain: list[dict[str, object]] = [
        {
            "id": queued.run.id,
            "path": str(queued.run.path),
            "position": queued.position or None,
            "status": queued.verdict.status,
            "devices": queued.devices,
            "takes": queued.takes,
            "behind": queued.behind,
            "held": queued.held,
        }
        for queued in runs
    ]
    unknown: dict[str, object] = {"devices": [], "takes": 0, "behind": [], "held": {}}
    for entry in damaged:
        known = {"id": entry.id, "path": str(entry.path), "position": None, "status": "damaged", "reason": entry.why}
        plain.append(known | unknown)
    return plain


def queue_table(runs: Sequence[QueuedRun], damaged: Sequence[DamagedEntry], *, paused: bool) -> Group:
    """One row per run: its position, or where it runs; and per damaged entry: what is wrong with it.

    Below it, whether the queue is paused, and how many devices are free.
    """
    position, where = Column(justify="right"), Column(overflow="fold", min_width=22)
    table = empty_table([position, "id", Column("run"), "status", where])
    for queued in runs:
        summary = read_summary(queued.run)
        named = title(summary).rpartition(" · ")[0] if summary else ""
        run = Text(cell(named), no_wrap=True, overflow="ellipsis")
        status, words = status_text(queued.verdict.status), cell(where_queued(queued))
        table.add_row(str(queued.position or ""), cell(short_id(queued.run.id)), run, status, words)
    for entry in damaged:
        why = cell(f"{entry.why}: rbp stop {entry.id}")
        table.add_row("", cell(short_id(entry.id)), Text(), status_text("damaged"), why)
    foot = queue_text(device_uses(), paused=paused)
    foot.style = "dim"
    return Group(table, foot)
