"""Runs: a live table of all runs."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Footer, Input, Static

from rbp_engine.printable import one_line
from rbp_engine.report.collect import Experiment, left_out
from rbp_engine.run import start
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.queue import arrange
from rbp_engine.run.queue.observe import is_paused
from rbp_engine.run.store.query import reversed_order
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.keys_in_turn import OPENING
from rbp_tui.dashboard.run_screen import RunScreen
from rbp_tui.dashboard.runs.columns import CURVE, by_several
from rbp_tui.dashboard.runs.elsewhere import hosts_text, only_there
from rbp_tui.dashboard.runs.rows import RowMaker, Rows, TableView
from rbp_tui.dashboard.runs.run_table import RunTable
from rbp_tui.dashboard.screen_base import TYPING_PAUSE_S, TopBar
from rbp_tui.dashboard.session import Session
from rbp_tui.dashboard.text_line import Line
from rbp_tui.dashboard.verbs import Verb
from rbp_tui.dashboard.view_state import ViewState
from rbp_tui.hosts.records import host_of
from rbp_tui.text.comparison_text import BASELINE
from rbp_tui.text.format import counted
from rbp_tui.text.run_text import STYLES, named
from rbp_tui.text.words import explained

HOSTS_SHOWN_EVERY_S = 1.0
# Sign, mark and scroll bar beside the columns.
EDGE = 3
#: Actions beside the verbs of runs that do nothing without rows.
OF_ROWS = frozenset({"mark", "move", "turn", "step", "mark_all", "to_front", "to_end"})


class RunsScreen(RunScreen):
    """The table of runs. Enter opens a run in the Monitor, or compares the runs of a group."""

    HELP = explained("rate_M", "rate_S", "T", "T needed")
    NAME = "runs"
    AUTO_FOCUS = "RunTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "mark_all", "mark all, or none", id="mark_all", show=False),
        Binding("p", "pause_all", "pause", id="pause", show=False, tooltip="the queue, or let it go on"),
        Binding("shift+up", "move(False)", "earlier", id="earlier", show=False, tooltip="in the queue"),
        Binding("shift+down", "move(True)", "later", id="later", show=False, tooltip="in the queue"),
    ]
    PALETTE: ClassVar[dict[str, str]] = {
        **RunScreen.PALETTE,
        "Move waiting runs to the front of the queue": "to_front",
        "Move waiting runs to the end of the queue": "to_end",
        "Pause the whole queue, or let it go on": "pause_all",
    }

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.rows = Rows()
        self.marked: set[str] = set()
        self._maker = RowMaker()
        self._opened: str | None = None  # the Monitor's run when this screen was last shown
        self._row_to_select: str | None = None  # gets the cursor once it is in the table

    @property
    def under_cursor(self) -> list[RunRecord]:
        """The run under the cursor, or the runs of the group there."""
        key = self.query_one(RunTable).current_key
        here = () if key is None else self.rows.groups.get(key, (key,))
        return [record for record in self.rows.records if record.run.id in here]

    @property
    def marked_shown(self) -> list[RunRecord]:
        """The marked runs that the filter does not hide."""
        return [record for record in self.rows.records if record.run.id in self.marked]

    @property
    def targets(self) -> list[RunRecord]:
        """The runs that a verb acts on; never a hidden one, nor one of another host."""
        return self.marked_shown or [record for record in self.under_cursor if not host_of(record)]

    @property
    def one(self) -> list[RunRecord]:
        return [] if self.refuses_elsewhere() else self.under_cursor[:1]

    def may(self, verb: Verb) -> bool:
        """What does not fit the run under the cursor says so, since the footer does not follow the cursor."""
        return bool(self.rows.cells)

    def fitting(self, name: str, may: Callable[[RunRecord], bool] | None = None) -> list[RunDirectory]:
        if not self.targets:
            self.refuses_elsewhere()
        return super().fitting(name, may)

    def refuses_elsewhere(self) -> bool:
        """Whether the run under the cursor is another host's, where nothing can be done with it; says so."""
        why = only_there(self.under_cursor)
        if why:
            self.notify(why, severity="warning", timeout=8, markup=False)
        return bool(why)

    def action_mark(self) -> None:
        """Mark the run, for what is then done to all that are marked."""
        if not self.refuses_elsewhere():
            self._toggle_marks({record.run.id for record in self.under_cursor})
        table = self.query_one(RunTable)
        below = table.cursor_row + 1 + len(self.rows.groups.get(table.current_key or "", ()))
        table.move_cursor(row=below if below < table.row_count else table.cursor_row)

    def action_mark_all(self) -> None:
        """Mark all runs that are shown, or none of them."""
        self._toggle_marks({record.run.id for record in self.rows.records if not host_of(record)})

    def _toggle_marks(self, runs: set[str]) -> None:
        self.marked = self.marked - runs if runs <= self.marked else self.marked | runs
        self.make_rows()

    def action_pause_all(self) -> None:
        """Start nothing that waits, or end that."""
        if is_paused():
            self._arrange(partial(arrange.set_paused, False), "the queue goes on")
        else:
            self._arrange(partial(arrange.set_paused, True), "the queue of this host is paused; what runs goes on")

    def action_move(self, later: bool) -> None:
        """Move the waiting runs by one."""
        if runs := self._waiting():
            self._arrange(partial(arrange.move_by_one, runs, later=later), "")

    def action_to_front(self, *, front: bool = True) -> None:
        """Move the waiting runs to the front of the queue, or to its end."""
        if runs := self._waiting():
            done = f"moved {named(runs)} to the {'front' if front else 'end'} of the queue"
            self._arrange(lambda: arrange.move(runs, first=front), done)

    def action_to_end(self) -> None:
        """Move the waiting runs to the end."""
        self.action_to_front(front=False)

    def _waiting(self) -> list[RunDirectory]:
        """The chosen runs that wait; if there are none, it says so."""
        runs = [record.run for record in self.targets if record.verdict.status == "queued"]
        if not runs:
            self.notify("no chosen run waits in the queue", severity="warning")
        return runs

    @work(thread=True, group="runs")
    def _arrange(self, change: Callable[[], object], done: str) -> None:
        """Change the queue in a thread, for another process may have its lock."""
        change()
        start.ensure_dispatcher()
        if done:
            self.notify(done, markup=False)

    def compose(self) -> ComposeResult:
        yield TopBar()
        with Horizontal(id="filter"):
            example = "/ filter, as  acc>0.9 T=4 status:running method:rate_m"
            yield Input(placeholder=example, compact=True, id="query")
            yield Line(id="counts", wraps=True)
        yield Line(id="hosts")
        yield Line(id="problem", wraps=True)
        yield RunTable()
        yield Static(id="empty", markup=False)
        yield Line(id="detail")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one("#query", Input).value = self.session.query
        self.query_one(RunTable).display = False
        self.set_interval(HOSTS_SHOWN_EVERY_S, self._show_hosts)

    def on_screen_resume(self) -> None:  # Textual also calls the base class's
        if self.session.opened != self._opened:
            self._opened = self._row_to_select = self.session.opened
        self._show_hosts()

    def on_screen_suspend(self) -> None:
        self._row_to_select = None
        self.session.reader.follow_trends(())

    def on_resize(self) -> None:
        self.make_rows()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only actions that do something now in footer and palette."""
        offered = super().check_action(action, parameters)
        return offered and (action not in OF_ROWS or bool(self.rows.cells))

    def runs_changed(self) -> None:
        super().runs_changed()
        self.marked &= {record.run.id for record in self.session.records}
        self.make_rows()

    def list_changed(self) -> None:
        self._show_hosts()
        self.make_rows()

    def _show_hosts(self) -> None:
        """How old what is shown of other hosts is."""
        if self.session.hosts and self.is_current:
            self.query_one("#hosts", Line).show_or_hide(hosts_text(self.session.hosts.values(), time.time()))

    def make_rows(self) -> None:
        """Make the rows again, in a thread: a query may have to read the presets of all runs."""
        self.redo(self._show)

    async def _show(self) -> None:
        session, state, before = self.session, self.session.state, self.rows
        view = TableView(self.session.query, state.sort, state.grouped, self.size.width - EDGE)
        marks = {state.baseline: BASELINE} | dict.fromkeys(self.marked, "●")
        self.rows = await asyncio.to_thread(
            self._maker.rows, (*session.records, *session.elsewhere), view, marks, dict(session.trends)
        )
        table = self.query_one(RunTable)
        table.show(self.rows, self.session.state.sort, onto=self._take_row_to_select())
        self.show_table_or("" if self.rows.cells else self._why_empty(), table)
        self.query_one("#problem", Line).show_or_hide(Text(self.rows.problem))
        self._show_counts()
        self._show_detail()
        if bool(before.cells) is not bool(self.rows.cells):
            self.refresh_bindings()
        self._follow_trends()

    def _take_row_to_select(self) -> str | None:
        """The run opened since this screen was left, once it has a row: the next keys should act on it."""
        if self._row_to_select not in self.rows.cells:
            return None
        found, self._row_to_select = self._row_to_select, None
        return found

    def _why_empty(self) -> str:
        session = self.session
        typed = session.query.strip()
        archived = all(record.hidden for record in session.records)
        if not session.listed or not (typed or archived):  # there are runs, and their rows are being made
            return f"reading {session.runs} …"
        if session.records and archived and not session.elsewhere and not typed:
            return "All runs are in the archive.\n\nThe filter archived shows them: / archived"
        if session.records or session.elsewhere:
            return "No run fits the filter.\n\n/ changes it, Esc takes it away."
        how = "1 shows the presets; Enter launches one. Or in a shell: rbp train digits"
        return f"No runs in {session.runs} yet.\n\n{how}"

    def _show_counts(self) -> None:
        shown, known = len(self.rows.records), len(self.session.records) + len(self.session.elsewhere)
        hidden = sum(record.hidden for record in self.session.records) if shown < known else 0
        archived = f", {hidden} archived" if hidden and not self.rows.about_archived else ""
        text = Text(counted(known, "run") if shown == known else f"{shown} of {known}{archived}", style="dim")
        if self.marked:
            hidden = len(self.marked) - len(self.marked_shown)
            text.append(f"  {len(self.marked)} marked{f' ({hidden} hidden)' if hidden else ''}", style="bold yellow")
        self.query_one("#counts", Line).show_or_hide(text)

    @on(DataTable.RowHighlighted)
    def _show_detail(self) -> None:
        """Show what the row of the run under the cursor leaves out, behind how many others the keys act on."""
        key = self.query_one(RunTable).current_key
        record = next((one for one in self.rows.records if one.run.id == key), None)
        text = Text(no_wrap=True, overflow="ellipsis")
        if acted_on := len(self.marked_shown):
            text.append(f"the keys act on {counted(acted_on, 'marked run')}  ", style="bold yellow")
        if record is not None:
            verdict = record.verdict
            text.append(f"{record.run.id}  ").append(verdict.shown_status, style=STYLES.get(verdict.shown_status, ""))
            text.append(by_several(record))
            for part in (verdict.reason, " ".join(record.tags), record.annotations.note):
                text.append(f" · {one_line(part)}" if part else "")
        group, ids = next(((name, ids) for name, ids in self.rows.groups.items() if key in (name, *ids)), ("", ()))
        outside = left_out([Experiment.of(one for one in self.rows.records if one.run.id in ids)])
        text.append("".join(f" · not in the mean: {one.reason}" for one in outside if one.id == key))
        if group and key == group:
            others = f" ({len(outside)} not in the mean: others of the same seed count)" if outside else ""
            text.append(f"{counted(len(ids), 'run')} of one experiment{others}: Enter compares them, Space marks them")
        self.query_one("#detail", Line).show_text(text)

    @on(RunTable.ShownRows)
    def _follow_trends(self) -> None:
        """Have the validations of the visible runs read, if the table shows them."""
        curves = any(place.column.name == CURVE for place in self.rows.placed)
        visible = self.query_one(RunTable).visible_keys if curves and self.is_current else []
        here = {record.run.id for record in self.session.records}
        self.session.reader.follow_trends(key for key in visible if key in here)

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        key = self.query_one(RunTable).current_key
        if self.refuses_elsewhere():
            return
        if key is not None and key in self.rows.groups:
            self.session.screens.compare(list(self.rows.groups[key]))
        elif key is not None:
            self.session.screens.open_run(key)

    def action_find(self) -> None:
        """Choose the runs that are shown by a query."""
        self.set_focus(self.query_one("#query"))

    @on(Input.Changed, "#query")
    @work(exclusive=True, group="query")
    async def _query_changed(self, event: Input.Changed) -> None:
        self.session.query = event.value
        await asyncio.sleep(TYPING_PAUSE_S)
        self.make_rows()

    @on(Input.Submitted, "#query")
    @work(group=OPENING)
    async def _query_done(self) -> None:
        """Show what fits at once: the next key acts on it."""
        await self._show()
        self.set_focus(self.query_one(RunTable))

    def action_back(self) -> None:
        """Leave the filter, take away the marks, then the filter."""
        query = self.query_one("#query", Input)
        if self.marked and self.focused is not query:
            self.marked.clear()
        else:
            query.value = ""
        table = self.query_one(RunTable)
        self.set_focus(table if table.display else None)
        self.runs_changed()

    def action_group(self) -> None:
        """Put the runs of an experiment together, or not."""
        self.session.state.grouped = not self.session.state.grouped
        self.make_rows()

    def action_turn(self) -> None:
        """Turn the order of the table round."""
        self._sort_by(reversed_order(self.session.state.sort))

    def action_step(self, by: int) -> None:
        """Sort by the column beside the one that the table is sorted by; before the first, the newest run is first."""
        sorts = [ViewState.sort, *(place.column.sort for place in self.rows.placed if place.column.sort)]
        now = next((number for number, sort in enumerate(sorts) if self._sorted_by(sort)), -1 if by > 0 else 0)
        self._sort_by(sorts[(now + by) % len(sorts)])

    @on(DataTable.HeaderSelected)
    def _heading_clicked(self, event: DataTable.HeaderSelected) -> None:
        name = event.column_key.value
        column = next((place.column for place in self.rows.placed if place.column.name == name), None)
        if column is not None and column.sort:  # again: the other way round
            now = self.session.state.sort
            self._sort_by(reversed_order(now) if self._sorted_by(column.sort) else column.sort)

    def _sorted_by(self, sort: str) -> bool:
        return self.session.state.sort in (sort, reversed_order(sort))

    def _sort_by(self, sort: str) -> None:
        self.session.state.sort = sort
        self.make_rows()
