"""System: the history of each device, which run uses what, who used what lately, and what runs take on the disk."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.timer import Timer
from textual.widgets import DataTable, Static

from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.key_bar import KeyBar
from rbp_tui.dashboard.messages import OpenRun
from rbp_tui.dashboard.reading.machine_watch import MachineSight
from rbp_tui.dashboard.screen_base import DashboardScreen, TopBar
from rbp_tui.dashboard.session import Session
from rbp_tui.dashboard.system.disk_text import disk_lines
from rbp_tui.dashboard.system.queue_lines import queue_lines
from rbp_tui.dashboard.system.timeline import timeline_lines
from rbp_tui.dashboard.system.tracks import cores_line, device_lines, grid_for
from rbp_tui.dashboard.system.use_table import UseTable
from rbp_tui.dashboard.system.uses import use_rows
from rbp_tui.dashboard.text_line import Line, TextPanel
from rbp_tui.text.run_text import short, short_id

#: How often the screen asks whether there is a new reading.
LOOK_EVERY_S = 0.25
#: The spans of the histories to choose from, in seconds; at first the shortest that has the whole history.
SPANS_S = (120.0, 600.0, 3600.0)
#: Lines of a panel that are not of devices: memory, disk, headings.
OTHER_LINES = 10


class Pane(Vertical):
    """A part of the screen whose text depends on its size."""

    class Resized(Message):
        """It has another size."""

    def on_resize(self) -> None:
        self.post_message(self.Resized())


class SystemScreen(DashboardScreen):
    """Shows what the thread of the machine reads, and lets it look closely only while it is shown."""

    NAME = "system"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012  # as Textual has it
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "span", "time", id="system.span", tooltip="show a longer or shorter time of the devices' history")
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.sight: MachineSight | None = None
        self.span: float | None = None
        self._fault = ""
        self._clock: Timer | None = None

    def compose(self) -> ComposeResult:
        yield TopBar()
        with Horizontal(id="panes"):
            with Pane(id="now"):
                yield Line(id="machine", wraps=True)
                yield UseTable(cursor_type="row", id="uses")
                yield Static("reading…", id="empty", markup=False)
            with Pane(id="past"):
                yield TextPanel(id="stays")
                yield Line(id="disk", wraps=True)
        yield KeyBar()

    def on_mount(self) -> None:
        self._clock = self.set_interval(LOOK_EVERY_S, self._look)
        self.query_one(UseTable).display = False

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if self._clock is not None:
            self._clock.resume()

    def on_screen_suspend(self) -> None:
        self.session.machine.look_closely(None)
        self.session.queue.look_closely(False)
        if self._clock is not None:
            self._clock.pause()

    @on(Pane.Resized)
    def _pane_resized(self) -> None:
        self._show()

    def runs_changed(self) -> None:
        super().runs_changed()
        self.session.machine.look_closely(self.session.records)
        self.session.queue.look_closely(True)
        self._show()

    def action_span(self) -> None:
        """Show a longer time of the devices' history; after the longest, the shortest."""
        self.span = SPANS_S[(SPANS_S.index(self._span) + 1) % len(SPANS_S)]
        self._show()

    @property
    def _span(self) -> float:
        length = self.session.machine.history.length_s
        return self.span or next((span for span in SPANS_S if length <= span), SPANS_S[-1])

    def _look(self) -> None:
        watch = self.session.machine
        if watch.sight is not self.sight or watch.fault != self._fault:
            self.sight, self._fault = watch.sight, watch.fault
            self._show()

    def _show(self) -> None:
        sight = self.sight
        if self._fault:
            empty = self.query_one("#empty", Static)
            empty.display = True
            empty.update(f"this machine cannot be read: {self._fault}")
        if sight is None or self._fault:
            return
        records = {record.run.id: record for record in self.session.records}
        self._show_machine(sight, records)
        self._show_uses(sight)
        self._show_past(sight, records)

    def _show_machine(self, sight: MachineSight, records: Mapping[str, RunRecord]) -> None:
        machine, line = sight.machine, self.query_one("#machine", Line)
        names = {
            pid: short_id(records[use.run.id].summary) if use.run.id in records else short(use.run.id)
            for use in machine.uses
            for pid in use.pids
        }
        width = line.content_size.width
        grid = grid_for(len(machine.cores), width, self.size.height // 2 - OTHER_LINES)
        tracks = self.session.machine.history.tracks(self._span, grid.parts)
        lines = [cores_line(machine, self._span), *device_lines(machine, tracks, names, grid)]
        lines += queue_lines(self.session.queue.devices, width)
        line.show_text(_cut(lines, width))

    def _show_uses(self, sight: MachineSight) -> None:
        rows = use_rows(sight.machine, self.session.records, sight.hosts, self.query_one("#now").content_size.width)
        table, empty = self.query_one(UseTable), self.query_one("#empty", Static)
        table.show(rows)
        table.display, empty.display = bool(rows), not rows
        empty.update("No run is live, and no process of one is here. Launch one from the presets (1).")
        if rows and self.focused is None:
            table.focus()

    def _show_past(self, sight: MachineSight, records: Mapping[str, RunRecord]) -> None:
        panel, disk = self.query_one("#stays", TextPanel), self.query_one("#disk", Line)
        if sight.stays is not None:
            width, left_at = panel.scrollable_content_region.width - 1, self.session.state.left_at
            lines = timeline_lines(sight.stays, records, sight.t, width, left_at)
            if not sight.stays:
                lines[1:] = [Text("reading…" if sight.behind else "no run had a device of this machine", "dim")]
            panel.show_text(_cut(lines, width))
        most, width = max(0, min(10, self.size.height // 5 - 4)), disk.content_size.width
        disk.show_text(_cut(disk_lines(sight.sizes, sight.machine, records, self.session.runs, width, most), width))

    @on(DataTable.RowSelected)
    def _open(self, event: DataTable.RowSelected) -> None:
        known = {str(record.run.path): record.run.id for record in self.session.records}
        run_id = known.get(event.row_key.value or "")
        if run_id is None:
            folder = Path(event.row_key.value or "")
            self.notify(f"{folder.name} is in another runs directory: {folder.parent}", timeout=10, markup=False)
        else:
            self.post_message(OpenRun(run_id))


def _cut(lines: Iterable[Text], width: int) -> Text:
    """Lines that do not wrap."""
    kept = list(lines)
    for line in kept:
        line.truncate(max(1, width), overflow="ellipsis")
    return Text("\n").join(kept)
