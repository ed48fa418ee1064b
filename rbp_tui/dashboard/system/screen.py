"""System: GPUs if there are any, processor, memory and disk, and which run uses what."""

import asyncio
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import DataTable, Static

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import last_attempt
from rbp_tui.dashboard.key_bar import KeyBar
from rbp_tui.dashboard.messages import OpenRun
from rbp_tui.dashboard.reading.machine_reader import MachineReader, MachineReading
from rbp_tui.dashboard.screen_base import DashboardScreen, TopBar
from rbp_tui.dashboard.session import Session
from rbp_tui.dashboard.system.panel import COLUMNS, Cells, machine_text, use_rows
from rbp_tui.dashboard.text_line import Line
from rbp_tui.text.run_text import short_id

REFRESH_S = 2.0
RIGHT = ("procs", "memory", "cores")


class UseTable(DataTable[Text]):
    """The runs that use this machine, by their folders."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "open", id="system.open")]

    def on_mount(self) -> None:
        """Create the columns."""
        self.add_columns(*((Text(name, justify="right" if name in RIGHT else "left"), name) for name in COLUMNS))

    def show(self, rows: dict[str, Cells]) -> None:
        """Show these rows; the cursor stays on its run."""
        if rows.keys() == {key.value for key in self.rows}:
            for key, cells in rows.items():
                for column, cell in zip(COLUMNS, cells, strict=True):
                    self.update_cell(key, column, cell, update_width=True)
            return
        held = self.current
        self.clear()
        for key, cells in rows.items():
            self.add_row(*cells, key=key)
        if held in rows:
            self.move_cursor(row=list(rows).index(held))

    @property
    def current(self) -> str | None:
        """The folder of the run under the cursor."""
        if not self.is_valid_row_index(self.cursor_row):
            return None
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value


class SystemScreen(DashboardScreen):
    """Reads the machine every two seconds, but only while it is shown."""

    NAME = "system"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.machine: MachineReading | None = None
        self._hosts: dict[str, str] = {}
        self._reading = False
        self._clock: Timer | None = None

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield Line(id="machine", wraps=True)
        yield UseTable(cursor_type="row", id="uses")
        yield Static("reading…", id="empty", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        self._reader = MachineReader(self.session.runs)
        self._clock = self.set_interval(REFRESH_S, self._read)
        self.query_one(UseTable).display = False

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if self._clock is not None:
            self._clock.resume()
        self._read()

    def on_screen_suspend(self) -> None:
        if self._clock is not None:
            self._clock.pause()

    def runs_changed(self) -> None:
        super().runs_changed()
        self._show()

    @work(group="machine")
    async def _read(self) -> None:
        if not self._reading:  # a machine under load may take longer than the interval
            self._reading = True
            live = [record.run for record in self.session.live]
            machine, hosts = await asyncio.to_thread(lambda: (self._reader.read(), hosts_of(live)))
            self.machine, self._hosts, self._reading = machine, hosts, False
            self._show()

    def _show(self) -> None:
        machine, session = self.machine, self.session
        if machine is None:
            return
        summaries = {record.run.id: record.summary for record in session.records}
        names = {
            pid: short_id(summaries[use.run.id]) if use.run.id in summaries else use.run.id[-4:]
            for use in machine.uses
            for pid in use.pids
        }
        self.query_one("#machine", Line).show_text(machine_text(machine, names, str(session.runs)))
        rows = use_rows(machine, session.records, self._hosts)
        table, empty = self.query_one(UseTable), self.query_one("#empty", Static)
        table.show(rows)
        table.display, empty.display = bool(rows), not rows
        empty.update("No run is live, and no process of one is here. 1 shows the presets; Enter launches one.")
        if rows and self.focused is None:
            table.focus()

    @on(DataTable.RowSelected)
    def _open(self, event: DataTable.RowSelected) -> None:
        known = {str(record.run.path): record.run.id for record in self.session.records}
        run_id = known.get(event.row_key.value or "")
        if run_id is None:
            folder = Path(event.row_key.value or "")
            self.notify(f"{folder.name} is in another runs directory: {folder.parent}", timeout=10, markup=False)
        else:
            self.post_message(OpenRun(run_id))


def hosts_of(runs: Iterable[RunDirectory]) -> dict[str, str]:
    """The hosts of the runs, by id; empty for this one."""
    named = {run.id: attempt.host for run in runs if (attempt := last_attempt(run)) and attempt.host}
    here = socket.gethostname()
    return {run_id: "" if host == here else host for run_id, host in named.items()}
