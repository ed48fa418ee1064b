"""System: what this machine has, and the table of the runs on it and what they take."""

from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.widgets import DataTable, Footer, Static

from rbp_tui.dashboard.messages import OpenRun
from rbp_tui.dashboard.screen_base import DashboardScreen, TopBar
from rbp_tui.dashboard.system.machine_text import machine_lines
from rbp_tui.dashboard.system.uses import UseTable, use_rows
from rbp_tui.dashboard.text_line import Line

SHOW_EVERY_S = 0.5


class SystemScreen(DashboardScreen):
    """Shows what the thread of the machine reads, which reads only while it is shown."""

    NAME = "system"

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
        self.session.machine.look_at(None)
        self.session.queue.look_closely(False)

    def runs_changed(self) -> None:
        super().runs_changed()
        self.session.machine.look_at(self.session.records)
        self.session.queue.look_closely(True)
        self._show()

    def _show(self) -> None:
        watch = self.session.machine
        if not self.is_current or (watch.sight is None and not watch.fault):
            return
        rows = {}
        if watch.sight is not None and not watch.fault:
            lines = machine_lines(watch.sight.machine, self.session.queue.devices)
            self.query_one("#machine", Line).show_text(Text("\n").join(lines))
            rows = use_rows(watch.sight.machine, self.session.records, watch.sight.hosts, self.size.width)
            self.query_one(UseTable).show_rows(rows)
        why = f"this machine cannot be read: {watch.fault}" if watch.fault else ""
        none = "" if rows else why or "No run is live, and no process of one is here. Launch one from the presets (1)."
        self.show_table_or(none, self.query_one(UseTable))

    @on(DataTable.RowSelected)
    def _open(self, event: DataTable.RowSelected) -> None:
        known = {str(record.run.path): record.run.id for record in self.session.records}
        run_id = known.get(event.row_key.value or "")
        if run_id is None:
            folder = Path(event.row_key.value or "")
            self.notify(f"{folder.name} is in another runs directory: {folder.parent}", timeout=10, markup=False)
        else:
            self.post_message(OpenRun(run_id))
