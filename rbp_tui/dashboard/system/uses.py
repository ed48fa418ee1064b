"""The table of the runs that use this machine now."""

from collections.abc import Mapping, Sequence

from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.cards import CardReading
from rbp_tui.dashboard.reading.machine_reader import MachineReading, Use
from rbp_tui.dashboard.table import RowTable
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import SIGNS, STYLES, short_id

COLUMNS = ("", "run", "id", "procs", "memory", "cores", "GPU")
RIGHT = ("procs", "memory", "cores")
#: Cells for the name of a run at least and at most, and for all other columns.
NARROWEST, WIDEST, OTHERS = 12, 32, 52

Cells = tuple[Text, ...]


class UseTable(RowTable[Text]):
    """The runs that use this machine, by their folders."""

    def on_mount(self) -> None:
        """Create the columns."""
        self.add_columns(*((Text(name, justify="right" if name in RIGHT else "left"), name) for name in COLUMNS))


def use_rows(
    machine: MachineReading, records: Sequence[RunRecord], hosts: Mapping[str, str], width: int = 80
) -> dict[str, Cells]:
    """A row for each live run, for each lost one with remaining processes, and for runs of other directories.

    `hosts` maps the ids of the runs that were working when the machine was read to their hosts, empty for this one.
    The keys of the rows are the runs' folders; `width` is that of the table.
    """
    uses = {use.run.path.resolve(): use for use in machine.uses}
    name = min(WIDEST, max(NARROWEST, width - OTHERS))
    rows = {}
    for record in records:
        use = uses.pop(record.run.path.resolve(), None)
        if record.verdict.live or use is not None:
            rows[str(record.run.path)] = _row(record, use, machine.cards, hosts.get(record.run.id), name)
    for folder, use in uses.items():
        named = (Text(" "), Text(_cut(folder.name, name), style="dim"), Text("elsewhere", style="dim"))
        rows[str(folder)] = (*named, *_numbers(use, machine.cards))
    return rows


def _row(record: RunRecord, use: Use | None, cards: Sequence[CardReading], host: str | None, width: int) -> Cells:
    summary, status = record.summary, record.verdict.status
    sign = Text(SIGNS.get(status, " "), style=STYLES.get(status, ""))
    if use is not None:
        numbers = _numbers(use, cards)
    else:
        waits = status if status in ("queued", "starting") else "reading…"
        where = Text(f"on host {one_line(host)}" if host else waits, style="dim")
        if host == "":
            where = Text("process gone", style="red")
        numbers = (*(Text("–", style="dim", justify="right"),) * 3, where)
    return (sign, Text(_cut(summary.called, width)), Text(short_id(summary)), *numbers)


def _numbers(use: Use, cards: Sequence[CardReading]) -> Cells:
    on = []
    for card in cards:
        shares = [size for pid, size in card.processes if pid in use.pids]
        if shares:
            on.append(f"gpu{card.index} {fmt.size(sum(shares))}" if sum(shares) else f"gpu{card.index}")
    return (
        Text(str(len(use.pids)), justify="right"),
        Text(fmt.size(use.memory), justify="right"),
        Text(f"{use.cores:.1f}", justify="right"),
        Text(", ".join(on) or "–"),
    )


def _cut(name: str, width: int) -> str:
    """The end of a name that is too long for its column: ids differ at their ends."""
    name = one_line(name)
    return name if len(name) <= width else f"…{name[1 - width :]}"
