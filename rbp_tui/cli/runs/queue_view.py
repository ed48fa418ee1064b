"""The queue as a table and as JSON."""

from dataclasses import dataclass

from rich.console import Group
from rich.table import Column
from rich.text import Text

from rbp_engine.run.files.layout import short_id
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.queue.entries import DamagedEntry, read_queue
from rbp_engine.run.queue.observe import DeviceUse, QueuedRun, device_uses, is_paused, queued_runs
from rbp_tui.cli.output import cell
from rbp_tui.text.run_text import queue_text, status_text, title, where_queued
from rbp_tui.text.table import empty_table


@dataclass(frozen=True)
class QueueState:
    """The queue at one moment."""

    runs: list[QueuedRun]
    damaged: list[DamagedEntry]
    devices: list[DeviceUse]
    paused: bool

    @classmethod
    def now(cls) -> "QueueState":
        """The queue as it is."""
        return cls(queued_runs(), read_queue()[1], device_uses(), is_paused())

    def as_plain(self) -> list[dict[str, object]]:
        """Each run and each damaged entry, for JSON."""
        return [run_as_plain(run) for run in self.runs] + [damaged_as_plain(entry) for entry in self.damaged]


def run_as_plain(queued: QueuedRun) -> dict[str, object]:
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


def damaged_as_plain(entry: DamagedEntry) -> dict[str, object]:
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


def queue_table(look: QueueState) -> Group:
    """One row per run: its position, or where it runs; and per damaged entry: what is wrong with it.

    Below it, whether the queue is paused, and how many devices are free.
    """
    position, where = Column(justify="right"), Column(overflow="fold", min_width=22)
    table = empty_table([position, "id", Column("run"), "status", where])
    for queued in look.runs:
        summary = read_summary(queued.run)
        named = title(summary).rpartition(" · ")[0] if summary else ""
        run = Text(cell(named), no_wrap=True, overflow="ellipsis")
        status, words = status_text(queued.verdict.status), cell(where_queued(queued))
        table.add_row(str(queued.position or ""), cell(short_id(queued.run.id)), run, status, words)
    for entry in look.damaged:
        why = cell(f"{entry.why}: rbp stop {entry.id}")
        table.add_row("", cell(short_id(entry.id)), Text(), status_text("damaged"), why)
    foot = queue_text(look.devices, paused=look.paused)
    foot.style = "dim"
    return Group(table, foot)
