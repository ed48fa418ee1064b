"""System: what this machine has, and the table of the runs on it and what they take."""

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.widgets import DataTable, Footer, Static

from rbp_engine.printable import one_line
from rbp_engine.run.files.layout import short_id
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.machine_watch import CardReading, MachineReading, Use
from rbp_tui.dashboard.row_table import RowTable
from rbp_tui.dashboard.run_screen import RunScreen
from rbp_tui.dashboard.screen_base import TopBar
from rbp_tui.dashboard.text_line import Line
from rbp_tui.text import format as fmt
from rbp_tui.text.run_columns import shortened
from rbp_tui.text.run_text import SIGNS, STYLES

LABEL = 8
SHOW_EVERY_S = 0.5
FULL = 0.9  # from this share on, a value is highlighted


def machine_lines(machine: MachineReading, queue: Text | None) -> list[Text]:
    """A line for each kind of device, and what there is to say of the queue; None before that is known."""
    busy, by_runs = sum(machine.cores), sum(use.cores for use in machine.uses)
    cores = Text(f"{busy:.1f} of {len(machine.cores)} busy" + (f", {by_runs:.1f} by runs" if machine.uses else ""))
    lines = [_line("cores", cores), _line("memory", _of(machine.memory_used, machine.memory_total))]
    if machine.disk_free is not None:
        lines.append(_line("disk", Text(f"{fmt.size(machine.disk_free)} free")))
    if machine.gpus.silent_s:
        why = Text(f"the NVIDIA driver has not answered for {fmt.duration(machine.gpus.silent_s)}", "red")
        lines.append(_line("GPU", why.append(" · rbp doctor looks closer", "dim")))
    elif not machine.gpus.cards:
        lines.append(
            _line("GPU", Text(f"none: {one_line(machine.gpus.none_because)} · rbp doctor looks closer", "dim"))
        )
    lines += [_line(f"gpu{card.index}", _card(card)) for card in machine.gpus.cards]
    if queue is not None:
        lines.append(_line("queue", queue))
    return lines


def _card(card: CardReading) -> Text:
    if card.problem:
        return Text(one_line(card.problem), "red")
    name = one_line(card.name).removeprefix("NVIDIA ")
    busy = "" if card.utilisation is None else f"  {100 * card.utilisation:.0f} % busy"
    return _of(card.used, card.total).append(busy).append(f"  {name}", "dim")


def _of(used: int, total: int) -> Text:
    return Text(
        f"{used / fmt.GIB:.1f} of {total / fmt.GIB:.1f} GiB", "yellow" if total and used >= FULL * total else ""
    )


def _line(label: str, words: Text) -> Text:
    return Text.assemble((f"{label:<{LABEL}}", "dim"), words)


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


def use_rows(machine: MachineReading, records: Sequence[RunRecord], width: int) -> dict[str, Cells]:
    """A row for each live run, for each lost one with remaining processes, and for runs of other directories.

    The keys of the rows are the runs' folders; `width` is that of the table.
    """
    uses = {use.run.path.resolve(): use for use in machine.uses}
    name = min(WIDEST, max(NARROWEST, width - OTHERS))
    rows = {}
    for record in records:
        use = uses.pop(record.run.path.resolve(), None)
        if record.verdict.live or use is not None:
            rows[str(record.run.path)] = _row(record, use, machine.gpus.cards, machine.hosts.get(record.run.id), name)
    for folder, use in uses.items():
        called = Text(shortened(one_line(folder.name), name, middle=True), style="dim")
        named = (Text(" "), called, Text("elsewhere", style="dim"))
        rows[str(folder)] = (*named, *_numbers(use, machine.gpus.cards))
    return rows


def _row(record: RunRecord, use: Use | None, cards: Sequence[CardReading], host: str | None, width: int) -> Cells:
    summary, status = record.summary, record.verdict.status
    sign = Text(SIGNS.get(status, " "), style=STYLES.get(status, ""))
    if use is not None:
        numbers = _numbers(use, cards)
    else:
        # One that is resumed has the host of its attempt before, until it begins.
        host = None if status == "queued" else host
        where = Text(f"on host {one_line(host)}" if host else "reading…" if status == "running" else status, "dim")
        if host == "" and status != "starting":
            where = Text("process gone", style="red")
        numbers = (*(Text("–", style="dim", justify="right"),) * 3, where)
    return (sign, Text(shortened(one_line(summary.called), width, middle=True)), Text(short_id(summary.id)), *numbers)


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


class SystemScreen(RunScreen):
    """Shows what the thread of the machine reads, which reads only while it is shown."""

    NAME = "system"

    _drawn = False

    @property
    def ready(self) -> bool:
        return self._drawn

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield Line(id="machine", wraps=True)
        yield UseTable(cursor_type="row", id="uses")
        yield Static("reading…", id="empty", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one(UseTable).display = False
        self.set_interval(SHOW_EVERY_S, self._show)

    def on_screen_suspend(self) -> None:
        if self not in self.app.screen_stack:  # it is not just covered by a dialog
            self.session.machine.look_at(None)
            self.session.queue.look_closely(False)

    def runs_changed(self) -> None:
        super().runs_changed()
        self.session.machine.look_at(self.session.records)
        self.session.queue.look_closely(True)
        self._show()
        self.refresh_bindings()

    def _show(self) -> None:
        watch = self.session.machine
        if not self.is_current or (watch.sight is None and not watch.fault):
            return
        rows = {}
        if watch.sight is not None and not watch.fault:
            lines = machine_lines(watch.sight, self.session.queue.about)
            self.query_one("#machine", Line).show_text(Text("\n").join(lines))
            rows = use_rows(watch.sight, self.session.records, self.size.width)
            self.query_one(UseTable).show_rows(rows)
        why = f"this machine cannot be read: {watch.fault}" if watch.fault else ""
        none = "" if rows else why or "No run is live, and no process of one is here. Launch one from the presets (1)."
        self.show_table_or(none, self.query_one(UseTable))
        self._drawn = True

    @property
    def targets(self) -> list[RunRecord]:
        """The run under the cursor, unless it is of another runs directory."""
        folder = self.query_one(UseTable).current_key
        return [record for record in self.session.records if str(record.run.path) == folder]

    @on(DataTable.RowHighlighted)
    def _offer(self) -> None:
        self.refresh_bindings()

    @on(DataTable.RowSelected)
    def _open(self, event: DataTable.RowSelected) -> None:
        folder = Path(event.row_key.value or "")
        if self.targets:
            self.session.screens.open_run(self.targets[0].run.id)
        else:
            self.notify(f"{folder.name} is in another runs directory: {folder.parent}", timeout=10, markup=False)
