"""Runs: what happened since you left, and a live table of all runs."""

import asyncio
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Footer, Input, Static

from rbp_engine.report.names import one_line
from rbp_engine.run.store.ordering import turned_round
from rbp_tui.dashboard.messages import CompareRuns, OpenRun
from rbp_tui.dashboard.run_control import count
from rbp_tui.dashboard.runs.actions import RunActions
from rbp_tui.dashboard.runs.column_dialog import ColumnDialog
from rbp_tui.dashboard.runs.columns import BY_NAME, Column
from rbp_tui.dashboard.runs.rows import RowMaker, TableView
from rbp_tui.dashboard.runs.table import RunTable
from rbp_tui.dashboard.screen_base import TYPING_PAUSE_S, TopBar
from rbp_tui.dashboard.session import Session
from rbp_tui.dashboard.text_line import Line
from rbp_tui.text.run_text import STYLES

# Sign, mark and scroll bar beside the columns.
EDGE = 3
#: Actions that do nothing while no row is there, or while the query is being typed.
OF_ROWS = frozenset(
    {"compare", "stop", "kill", "resume", "tag", "note", "trash", "mark", "mark_all", "turn", "sort_by_next"}
)


class RunsScreen(RunActions):
    """The table. Enter opens a run in the Monitor, and compares the runs of a group."""

    NAME = "runs"
    AUTO_FOCUS = "RunTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority, or what is typed fast behind it would still be taken for keys of the table.
        Binding("slash", "query", "filter", id="runs.filter", key_display="/", show=False, priority=True),
        Binding("g", "group", "group", id="runs.group", show=False),
        Binding("o", "columns", "columns", id="runs.columns", show=False),
        Binding("greater_than_sign", "sort_by_next(1)", "sort by the next column", id="runs.sort_next", show=False),
        Binding("less_than_sign", "sort_by_next(-1)", "sort by the column before", id="runs.sort_before", show=False),
        Binding("i", "turn", "turn the order round", id="runs.turn", show=False),
        Binding("escape", "clear", "clear", id="runs.clear", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._maker = RowMaker()
        self._making = False
        self._stale = False
        self._opened: str | None = None  # what the Monitor showed when this screen was shown last
        self._sought_run: str | None = None  # where the cursor goes once it is in the table

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield Line(id="since")
        with Horizontal(id="filter"):
            yield Input(placeholder="/ filter, as  acc>0.9 T=4 status:running method:rate_m", compact=True, id="query")
            yield Line(id="counts", wraps=True)
        yield Line(id="problem", wraps=True)
        yield RunTable()
        yield Static(id="empty", markup=False)
        yield Line(id="detail")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one("#query", Input).value = self.session.state.query
        self.query_one(RunTable).display = False

    def on_screen_resume(self) -> None:  # that of the class above is called, too
        if self.session.opened != self._opened:
            self._opened = self._sought_run = self.session.opened

    def on_screen_suspend(self) -> None:
        self._sought_run = None
        self.session.reader.follow_trends(())

    def on_resize(self) -> None:
        self.make_rows()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Footer and palette offer only what does something now."""
        typing = isinstance(self.focused, Input)
        if action in OF_ROWS:
            return bool(self.rows.cells) and not typing
        return not (action == "query" and typing)

    def runs_changed(self) -> None:
        super().runs_changed()
        self.query_one("#since", Line).say_or_hide(Text(self.session.since))
        self.marked &= {record.run.id for record in self.session.records}
        self.make_rows()

    def trends_changed(self) -> None:
        self.make_rows()

    def make_rows(self) -> None:
        """Make the rows anew, in a thread: a query may have to read the presets of all runs."""
        self._stale = self._making
        if not self._making:
            self._making = True
            self._show()

    @work(group="rows")
    async def _show(self) -> None:
        session, state, before = self.session, self.session.state, self.rows
        view = TableView(state.query, state.sort, state.grouped, tuple(state.columns), self.size.width - EDGE)
        self.rows = await asyncio.to_thread(
            self._maker.rows, session.records, view, frozenset(self.marked), dict(session.trends)
        )
        self._making = False
        table = self.query_one(RunTable)
        table.show(self.rows, self.session.state.sort, onto=self._sought())
        table.display = bool(self.rows.cells)
        empty = self.query_one("#empty", Static)
        empty.display = not self.rows.cells
        if empty.display:
            empty.update(self._why_empty())
            if self.focused is table:
                self.set_focus(None)
        elif self.focused is None:
            table.focus()
        self.query_one("#problem", Line).say_or_hide(Text(self.rows.problem))
        self._say_counts()
        self._say_detail()
        if bool(before.cells) is not bool(self.rows.cells):
            self.refresh_bindings()
        self._follow_trends()
        if self._stale:
            self.make_rows()

    def _sought(self) -> str | None:
        """The run that was opened since this screen was left, once it has a row: what keys do then, is meant for it."""
        if self._sought_run not in self.rows.cells:
            return None
        found, self._sought_run = self._sought_run, None
        return found

    def _why_empty(self) -> str:
        session = self.session
        if not session.listed:
            return f"reading {session.runs} …"
        if session.records:
            return "No run fits the filter.\n\n/ changes it, Esc takes it away."
        how = "1 shows the presets; Enter launches one. Or in a shell: rbp train digits"
        return f"No runs in {session.runs} yet.\n\n{how}"

    def _say_counts(self) -> None:
        shown, known = len(self.rows.records), len(self.session.records)
        text = Text(count(known) if shown == known else f"{shown} of {known}", style="dim")
        if self.marked:
            hidden = len(self.marked) - len(self.marked_shown)
            text.append(f"  {len(self.marked)} marked{f' ({hidden} hidden)' if hidden else ''}", style="bold yellow")
        self.query_one("#counts", Line).say_or_hide(text)

    @on(DataTable.RowHighlighted)
    def _say_detail(self) -> None:
        """What there is to know of the run under the cursor beyond its row."""
        key = self.query_one(RunTable).current
        record = self.session.record_of(key)
        text = Text(no_wrap=True, overflow="ellipsis")
        if record is not None:
            verdict = record.verdict
            text.append(f"{record.run.id}  ").append(verdict.status, style=STYLES.get(verdict.status, ""))
            for part in (verdict.reason, " ".join(record.tags), record.annotations.note):
                text.append(f" · {one_line(part)}" if part else "")
        elif key is not None and key in self.rows.groups:
            text.append(f"{count(len(self.rows.groups[key]))} of one experiment: Enter compares them, Space marks them")
        self.query_one("#detail", Line).say(text)

    @on(RunTable.ShownRows)
    def _follow_trends(self) -> None:
        """Have the validations read of the runs on the screen, where they are shown."""
        curves = any(place.column.name == "curve" for place in self.rows.placed)
        visible = self.query_one(RunTable).visible_keys if curves and self.is_current else []
        self.session.reader.follow_trends(key for key in visible if key not in self.rows.groups)

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        key = self.query_one(RunTable).current
        if key is not None and key in self.rows.groups:
            self.post_message(CompareRuns(list(self.rows.groups[key])))
        elif key is not None:
            self.post_message(OpenRun(key))

    def action_query(self) -> None:
        """Choose the runs that are shown by a query."""
        self.set_focus(self.query_one("#query"))

    @on(Input.Changed, "#query")
    @work(exclusive=True, group="query")
    async def _query_changed(self, event: Input.Changed) -> None:
        self.session.state.query = event.value
        await asyncio.sleep(TYPING_PAUSE_S)
        self.make_rows()

    @on(Input.Submitted, "#query")
    def _query_done(self) -> None:
        self.set_focus(self.query_one(RunTable))

    def action_clear(self) -> None:
        """Leave the filter, take away the marks, then the filter, then what happened since you left."""
        query = self.query_one("#query", Input)
        if self.marked and self.focused is not query:
            self.marked.clear()
        elif query.value:
            query.value = ""
        elif self.focused is not query:
            self.session.since = ""
        table = self.query_one(RunTable)
        self.set_focus(table if table.display else None)
        self.runs_changed()

    def action_group(self) -> None:
        """Put the runs of an experiment together, or not."""
        self.session.state.grouped = not self.session.state.grouped
        self.make_rows()

    def action_turn(self) -> None:
        """Turn the order of the table round."""
        self._sort_by(turned_round(self.session.state.sort))

    def action_sort_by_next(self, by: int) -> None:
        """Sort by the column beside the one that the table is sorted by."""
        sorts = [place.column.sort for place in self.rows.placed if place.column.sort]
        now = next((number for number, sort in enumerate(sorts) if self._sorted_by(sort)), -1 if by > 0 else 0)
        self._sort_by(sorts[(now + by) % len(sorts)])

    @on(DataTable.HeaderSelected)
    def _heading_clicked(self, event: DataTable.HeaderSelected) -> None:
        column = BY_NAME.get(event.column_key.value or "")
        if column is not None:
            self._sort_by_column(column)

    def _sort_by_column(self, column: Column) -> None:
        """Sort by it; the other way round if that is so already."""
        if column.sort:
            now = self.session.state.sort
            self._sort_by(turned_round(now) if self._sorted_by(column.sort) else column.sort)

    def _sorted_by(self, sort: str) -> bool:
        return self.session.state.sort in (sort, turned_round(sort))

    def _sort_by(self, sort: str) -> None:
        self.session.state.sort = sort
        self.make_rows()

    @work
    async def action_columns(self) -> None:
        """Choose the columns, and which one to sort by."""
        choice = await self.app.push_screen_wait(ColumnDialog([place.column.name for place in self.rows.placed]))
        if choice is not None:
            if choice.columns is not None:
                self.session.state.columns = list(choice.columns)
            if choice.sort_by:
                self._sort_by_column(BY_NAME[choice.sort_by])
            self.make_rows()
