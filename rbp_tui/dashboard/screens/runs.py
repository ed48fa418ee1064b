"""Runs: what happened since you left, and a live table of all runs."""

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Input, Static
from textual.widgets.data_table import CellDoesNotExist

from rbp_engine.run.query import QueryError, parse_query
from rbp_engine.run.store import RunRecord
from rbp_tui import format as fmt
from rbp_tui.dashboard.screens.base import DashboardScreen, TopBar
from rbp_tui.dashboard.since import since_you_left
from rbp_tui.run_text import SIGNS, STYLES, remaining_s, short_id

# A table row costs about a millisecond, so a long list is filled in over several frames.
ROWS_AT_ONCE = 100
COLUMNS = ("", "run", "id", "method", "T", "seed", "epoch", "last", "best", "smp/s", "ETA", "reason")


class RunsScreen(DashboardScreen):
    """The table. Enter opens a run in the Monitor."""

    NAME = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", id="runs.open"),
        Binding("slash", "filter", "filter", id="runs.filter", key_display="/"),
        Binding("space", "mark", "mark", id="runs.mark"),
        Binding("c", "compare", "compare", id="runs.compare"),
        Binding("s", "stop", "stop", id="runs.stop"),
        Binding("k", "kill", "kill", id="runs.kill"),
        Binding("r", "resume", "resume", id="runs.resume"),
        Binding("o", "sort", "sort", id="runs.sort"),
        Binding("escape", "clear", "clear", id="runs.clear", show=False),
    ]
    SORTS: ClassVar = ("created", "best", "last", "status")

    def __init__(self) -> None:
        super().__init__()
        self.marked: set[str] = set()
        self._shown: dict[str, tuple[str | Text, ...]] = {}
        self._order: list[str] = []

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield Static(id="since", markup=False)
        yield Input(placeholder="filter: acc>0.9 T=4 status:running method:rate_m not:digits", id="query")
        yield Static(id="problem", markup=False)
        yield DataTable(cursor_type="row", zebra_stripes=False)
        yield Static(id="empty", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        for name in COLUMNS:
            table.add_column(name, key=name or "sign")
        self.query_one("#query", Input).value = self.dashboard.state.query
        self.query_one("#query").display = bool(self.dashboard.state.query)
        table.focus()

    def runs_changed(self) -> None:
        super().runs_changed()
        text = since_you_left(self.dashboard.records, self.dashboard.left_at)
        since = self.query_one("#since", Static)
        since.update(text)
        since.display = bool(text)
        records = self._chosen()
        order = [record.run.id for record in records]
        rows = {record.run.id: self._row(record) for record in records}
        table = self.query_one(DataTable)
        if order != self._order:
            self._refill(table, order, rows)
        else:
            self._update(table, rows)
        empty = self.query_one("#empty", Static)
        table.display = bool(order)
        empty.display = not order
        nothing = (
            "No run fits the filter; Esc clears it." if self.dashboard.records else "No runs yet. 1 shows presets."
        )
        empty.update(nothing)

    def _chosen(self) -> list[RunRecord]:
        """The records that the filter lets through, in the order chosen, the newest first."""
        records = list(reversed(self.dashboard.records))
        problem = ""
        if self.dashboard.state.query.strip():
            try:
                fits = parse_query(self.dashboard.state.query)
                records = [record for record in records if fits(record)]
            except QueryError as error:
                problem = str(error)
        shown = self.query_one("#problem", Static)
        shown.update(problem)
        shown.display = bool(problem)
        sort = self.dashboard.state.sort
        if sort in ("best", "last"):
            records.sort(key=lambda record: -(getattr(record.summary, sort).get("top1") or -1.0))
        elif sort == "status":
            records.sort(key=lambda record: (not record.verdict.live, record.verdict.status))
        return records

    def _row(self, record: RunRecord) -> tuple[str | Text, ...]:
        summary, status = record.summary, record.verdict.status
        mark = "●" if record.run.id in self.marked else " "
        best = fmt.percent(summary.best.get("top1"), 1)
        if (epoch := summary.best.get("epoch")) is not None:
            best += f"@{epoch:.0f}"
        eta = remaining_s(summary) if record.verdict.live else None
        return (
            Text(f"{mark}{SIGNS.get(status, '✗')}", style=STYLES.get(status, "")),
            summary.name or summary.preset,
            short_id(summary),
            fmt.method(summary.method),
            Text(str(summary.timesteps), justify="right"),
            Text(str(summary.seed), justify="right"),
            Text(f"{summary.epoch}/{summary.epochs}", justify="right"),
            Text(fmt.percent(summary.last.get("top1"), 1), justify="right"),
            best,
            Text(fmt.thousands(summary.samples_per_s), justify="right"),
            Text(fmt.duration(eta) if record.verdict.live else status, justify="right"),
            record.verdict.reason,
        )

    def _refill(
        self, table: "DataTable[str | Text]", order: list[str], rows: dict[str, tuple[str | Text, ...]]
    ) -> None:
        chosen = self._order[table.cursor_row] if 0 <= table.cursor_row < len(self._order) else None
        table.clear()
        self._order, self._shown = order, {}
        self._fill(order, rows, 0)
        if chosen in order[:ROWS_AT_ONCE]:
            table.move_cursor(row=order.index(chosen))

    def _fill(self, order: list[str], rows: dict[str, tuple[str | Text, ...]], start: int) -> None:
        if order is not self._order:
            return  # another list has taken its place meanwhile
        table = self.query_one(DataTable)
        for run_id in order[start : start + ROWS_AT_ONCE]:
            table.add_row(*rows[run_id], key=run_id)
            self._shown[run_id] = rows[run_id]
        if start + ROWS_AT_ONCE < len(order):
            self.call_after_refresh(self._fill, order, rows, start + ROWS_AT_ONCE)

    def _update(self, table: "DataTable[str | Text]", rows: dict[str, tuple[str | Text, ...]]) -> None:
        for run_id, row in rows.items():
            before = self._shown.get(run_id)
            if before is None or before == row:
                continue
            for name, old, new in zip(COLUMNS, before, row, strict=True):
                if old != new:
                    try:
                        table.update_cell(run_id, name or "sign", new, update_width=True)
                    except CellDoesNotExist:
                        continue
            self._shown[run_id] = row

    @property
    def current(self) -> RunRecord | None:
        """The run under the cursor."""
        row = self.query_one(DataTable).cursor_row
        return self.dashboard.record_of(self._order[row]) if 0 <= row < len(self._order) else None

    @on(DataTable.RowSelected)
    def action_open(self) -> None:
        """Open the run in the Monitor."""
        if self.current is not None:
            self.dashboard.open_run(self.current.run.id)

    def action_filter(self) -> None:
        """Filter the list by a query."""
        field = self.query_one("#query", Input)
        field.display = True
        field.focus()

    @on(Input.Changed, "#query")
    def _query_changed(self, event: Input.Changed) -> None:
        self.dashboard.state.query = event.value
        self.runs_changed()

    @on(Input.Submitted, "#query")
    def _query_done(self) -> None:
        self.query_one(DataTable).focus()
        self.query_one("#query").display = bool(self.dashboard.state.query)

    def action_clear(self) -> None:
        """Take away the filter and the marks."""
        self.marked.clear()
        field = self.query_one("#query", Input)
        field.value = ""
        field.display = False
        self.query_one(DataTable).focus()
        self.runs_changed()

    def action_mark(self) -> None:
        """Mark the run, for what is then done to all that are marked."""
        if self.current is not None:
            self.marked ^= {self.current.run.id}
            self.runs_changed()
            self.query_one(DataTable).action_cursor_down()

    def action_sort(self) -> None:
        """Sort by the next column: created, best, last, status."""
        state = self.dashboard.state
        position = self.SORTS.index(state.sort) if state.sort in self.SORTS else -1
        state.sort = self.SORTS[(position + 1) % len(self.SORTS)]
        self.notify(f"sorted by {state.sort}", timeout=2)
        self.runs_changed()

    def _meant(self) -> list[RunRecord]:
        """The marked runs, else the one under the cursor."""
        marked = [record for record in self.dashboard.records if record.run.id in self.marked]
        return marked or ([self.current] if self.current is not None else [])

    def action_compare(self) -> None:
        """Compare the marked runs."""
        self.dashboard.compare([record.run.id for record in self._meant()])

    def action_stop(self) -> None:
        """Let the run save and end."""
        for record in self._meant():
            self.dashboard.stop_run(record.run)

    def action_kill(self) -> None:
        """End the run at once."""
        for record in self._meant():
            self.dashboard.kill_run(record.run)

    def action_resume(self) -> None:
        """Go on with the run from its newest checkpoint."""
        for record in self._meant():
            self.dashboard.resume_run(record.run)
