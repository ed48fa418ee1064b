"""Other hosts in words: how many of their runs are shown, how old that is, and which of them are down."""

import time
from collections.abc import Iterable

from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.run.files.layout import short_id
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.hosts import HostSight
from rbp_tui.hosts.records import host_of
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import ATTENTION

LONGEST_PROBLEM = 60


def hosts_text(sights: Iterable[HostSight], now: float) -> Text:
    """As `box: 3 runs, 12s ago   gpu2: down since 14:02, Connection refused`; empty without hosts."""
    text = Text()
    for sight in sorted(sights, key=lambda sight: bool(sight.problem)):
        runs = fmt.counted(len(sight.records), "run")
        text.append("   " if text else "").append(f"{one_line(sight.name)}: ", style="bold")
        if sight.problem:
            since = time.strftime("%H:%M", time.localtime(sight.down_since))
            old = f" ({runs}, {fmt.duration(now - sight.seen)} ago)" if sight.seen else ""
            text.append(f"down since {since}{old}", style=ATTENTION)
            text.append(f" {one_line(sight.problem.removeprefix(f'{sight.name} '), LONGEST_PROBLEM)}", style="dim")
        else:
            text.append(f"{runs}, {fmt.duration(now - sight.seen)} ago", style="dim")
    return text


def only_there(records: Iterable[RunRecord]) -> str:
    """What to say where something is to be done with runs of other hosts; empty if none of them is one."""
    first = next((record for record in records if host_of(record)), None)
    if first is None:
        return ""
    command = f"rbp --host {host_of(first)} watch {short_id(first.summary.id)}"
    return f"runs of other hosts are shown here, and nothing more; in a shell, as {command}"
