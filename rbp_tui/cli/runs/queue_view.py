"""The queue on a terminal: a table, a live one, lines, and JSON."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbp_engine.printable import in_json, one_line
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.queue.entries import DamagedEntry, damaged_entries
from rbp_engine.run.queue.observe import is_paused
from rbp_engine.run.queue.positions import DeviceUse, QueuedRun, device_uses, queued_runs
from rbp_engine.run.start import ensure_dispatcher
from rbp_engine.run.status.status import judge
from rbp_tui.cli.output import cell, console, print_line
from rbp_tui.text.run_text import device_counts, short, status_text, title, where_queued

if TYPE_CHECKING:
    from rich.console import Group

LOOK_EVERY_S = 0.5


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
        return cls(queued_runs(), damaged_entries(), device_uses(), is_paused())

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
        "paused": queued.paused,
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
        "paused": False,
        "devices": [],
        "takes": 0,
        "behind": [],
        "held": {},
    }


def queue_table(look: QueueState) -> "Group":
    """One row per run: its position, or where it runs; and per damaged entry: what is wrong with it.

    Below it, whether the queue is paused, and how many devices are free.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", justify="right")
    table.add_column("id", no_wrap=True)
    table.add_column("run")
    table.add_column("status", no_wrap=True)
    table.add_column("", overflow="fold", min_width=22)
    for queued in look.runs:
        summary = read_summary(queued.run)
        named = title(summary).rpartition(" · ")[0] if summary else ""
        run = Text(cell(named), no_wrap=True, overflow="ellipsis")
        where = cell(where_queued(queued))
        table.add_row(
            str(queued.position or ""), cell(short(queued.run.id)), run, status_text(queued.verdict.status), where
        )
    for entry in look.damaged:
        why = cell(f"{entry.why}: rbp stop {entry.id}")
        table.add_row("", cell(short(entry.id)), Text(), status_text("damaged"), why)
    foot = Text(device_counts(look.devices), style="dim")
    if look.paused:
        foot = Text.assemble(("paused", "yellow"), (": nothing starts before rbp queue go · ", "dim"), foot)
    return Group(table, foot)


def follow_queue(*, as_json: bool) -> None:
    """Show the queue until nothing waits or runs: redrawn in place on a terminal, else a line for each change."""
    if as_json or not sys.stdout.isatty():
        for change in _changes():
            text = in_json(json.dumps(change, ensure_ascii=False)) if as_json else _as_line(change)
            print_line(one_line(text))
            sys.stdout.flush()
        return
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(console=console(), auto_refresh=False) as live:
        for look in _looks():
            hint = Text("Ctrl-C leaves; the queue goes on", style="dim")
            empty = Text("nothing waits or runs any more", style="dim")
            live.update(Group(queue_table(look), hint if look.runs else empty), refresh=True)


def _looks() -> Iterator[QueueState]:
    """The queue again and again, the last time when it is empty; a damaged entry is not waited for."""
    while True:
        ensure_dispatcher()
        look = QueueState.now()
        yield look
        if not look.runs:
            return
        time.sleep(LOOK_EVERY_S)


def _changes() -> Iterator[dict[str, Any]]:
    """What changes in the queue, each as a run for JSON with the time; one that leaves it has its status by then."""
    known: dict[str, dict[str, Any]] = {}
    last: dict[str, QueuedRun] = {}
    for look in _looks():
        now = {queued.run.id: run_as_plain(queued) | {"where": where_queued(queued)} for queued in look.runs}
        for run_id in known.keys() - now.keys():
            verdict = judge(last[run_id].run)
            gone: dict[str, Any] = {"status": verdict.status, "position": None, "devices": [], "where": verdict.reason}
            yield {"t": time.time()} | known[run_id] | gone
        for run_id, plain in now.items():
            if plain != known.get(run_id):
                yield {"t": time.time()} | plain
        known, last = now, {queued.run.id: queued for queued in look.runs}


def _as_line(change: dict[str, Any]) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(change["t"]))
    place = f" {change['position']}" if change["position"] else ""
    return f"{clock} {short(change['id'])} {change['status']}{place} {change['where']}".rstrip()
