"""The sweep screen: what a sweep is, the table that fills while it runs, and the runs of the row under the cursor."""

import asyncio
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Static

from rbp_engine.printable import one_line
from rbp_engine.report.sweep_table import SweepRow
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.run_screen import RunScreen
from rbp_tui.dashboard.screen_base import TopBar
from rbp_tui.dashboard.session import Session
from rbp_tui.dashboard.sweep.board import SweepBoard, SweepSource, read_board
from rbp_tui.dashboard.sweep.table import SweepTable
from rbp_tui.dashboard.text_line import Line
from rbp_tui.dashboard.verbs import Verb
from rbp_tui.text import format as fmt
from rbp_tui.text.run_columns import setting_heading
from rbp_tui.text.run_text import SIGNS, STYLES
from rbp_tui.text.sweep_text import legend

# What the process that drives a search does is in a file that no run changes.
LOOK_AT_DRIVER_EVERY_S = 2.0


class SweepScreen(RunScreen):
    """Follows a sweep. It lies over the table of runs, to which Escape goes back."""

    NAME = "runs"  # in the bar
    AUTO_FOCUS = "SweepTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "launch", "missing", id="sweep.missing", tooltip="runs, to launch from the form"),
    ]

    def __init__(self, session: Session, source: SweepSource, launch: Callable[[], object] | None = None) -> None:
        """`launch` opens the form for what is missing, None if the sweep is known only by its runs."""
        super().__init__(session)
        self.source = source
        self.launch = launch
        self.board = SweepBoard()
        self.marked: set[int] = set()
        self._read = False

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield Line(id="about")
        yield Line(id="standings")
        yield SweepTable(cursor_type="row")
        yield Static(id="empty", markup=False)
        yield Line(id="detail", wraps=True)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one(SweepTable).display = False
        self.show_board()
        if self.source.search is not None:
            self.set_interval(LOOK_AT_DRIVER_EVERY_S, self.read_again)

    def on_resize(self) -> None:
        self.show_board()

    def runs_changed(self) -> None:
        super().runs_changed()
        self.read_again()

    def read_again(self) -> None:
        """Read the sweep again, in a thread: of runs that are new it reads files."""
        if self.session.listed:
            self.redo(self._read_board)

    async def _read_board(self) -> None:
        session = self.session
        self.board = await asyncio.to_thread(read_board, self.source, session.runs, session.records)
        self._read = True
        self.marked &= set(self.board.rows)
        if self.query(SweepTable):  # unless the screen has been closed meanwhile
            self.show_board()
            self.refresh_bindings()

    def show_board(self) -> None:
        """Draw everything from the board."""
        board, table = self.board, self.query_one(SweepTable)
        if board.rows:
            table.show(board, self.marked, self.size.width)
        self.show_table_or("" if board.rows else self._why_empty(), table)
        about = Text.assemble((one_line(self.source.name), "bold"), f"  {board.about}", overflow="ellipsis")
        self.query_one("#about", Line).show_text(about)
        self.query_one("#standings", Line).show_text(self._standings())
        self._show_detail()

    def _standings(self) -> Text:
        board = self.board
        parts = [part for part in (board.standings, one_line(board.driver)) if part]
        text = Text(" · ".join(parts), overflow="ellipsis")
        if self.marked:
            text.append(f"  {len(self.marked)} marked", "bold yellow")
        return text

    def _why_empty(self) -> str:
        if self.board.problem:
            return self.board.problem
        if not self._read:
            return f"reading {self.session.runs} …"
        if self.source.search is not None:
            how = f"\n\n{self.board.driver}" if self.board.driver else "\n\nm launches it"
            return f"No trial of this search has been started yet.{how}"
        return f"No run of {one_line(self.source.name)} is here any more.\n\nEsc goes back to the runs."

    @on(DataTable.RowHighlighted)
    def _show_detail(self) -> None:
        """The runs of the row under the cursor, and what its columns leave out."""
        row, table = self.row, self.query_one(SweepTable)
        text = Text(overflow="ellipsis")
        if row is not None:
            left_out = [key for key in table.left_out if row.values.get(key)]
            parts = [one_line(f"{setting_heading(key)}={row.values[key]}") for key in left_out]
            text.append("  ".join(parts), "dim")
            for number, state in enumerate(row.states):
                text.append(" · " if number or parts else "").append(f"seed {state.point.seed} ", "dim")
                text.append_text(_run_text(state.record))
        signs = "   ".join(legend(list(self.board.rows.values())))
        if signs:
            text.append(f"\n{signs}", "dim")
        self.query_one("#detail", Line).show_or_hide(text)

    @property
    def row(self) -> SweepRow | None:
        """The row under the cursor."""
        current = self.query_one(SweepTable).current
        return self.board.rows.get(current) if current is not None else None

    @property
    def targets(self) -> list[RunRecord]:
        """The runs of the marked rows, or of the one under the cursor."""
        marked = [row for trial, row in self.board.rows.items() if trial in self.marked]
        return [record for row in marked or ([self.row] if self.row else []) for record in row.records]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer a key only if it does something."""
        if action == "launch":
            return self.launch is not None
        return super().check_action(action, parameters) and (action != "mark" or bool(self.board.rows))

    def may(self, verb: Verb) -> bool:
        """What fits a run of any row; the footer does not follow the cursor."""
        return verb.may is not None and any(verb.may(one) for row in self.board.rows.values() for one in row.records)

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        row = self.row
        if row is None:
            return
        records = [record for record in row.records if record.verdict.live] or row.records
        if records:
            self.session.screens.open_run(records[0].run.id)
        else:
            how = "; m launches it" if self.launch else ""
            self.notify(f"no run of this row is there yet{how}", timeout=4, markup=False)

    def action_mark(self) -> None:
        """Mark the row, for what is then done to all that are marked."""
        if self.row is not None:
            self.marked ^= {self.row.trial}
            self.show_board()
            self.query_one(SweepTable).action_cursor_down()

    def action_compare(self) -> None:
        """Compare the runs of the marked rows, or of all of them."""
        every = [record for row in self.board.rows.values() for record in row.records]
        ids = [record.run.id for record in (self.targets if self.marked else every)]
        if ids:
            self.session.screens.compare(ids)
        else:
            self.notify("there is no run to compare yet", timeout=4, markup=False)

    def action_launch(self) -> None:
        """Open the form, which says what is missing; nothing is created before it is confirmed."""
        if self.launch is not None:
            self.launch()

    def action_back(self) -> None:
        """Take away the marks, or go back."""
        if self.marked:
            self.marked.clear()
            self.show_board()
        elif self.is_current:
            self.dismiss()


def _run_text(record: RunRecord | None) -> Text:
    """A run in a few words: its status, and what it has reached or why it has ended."""
    if record is None:
        return Text("not there yet", "dim")
    verdict, summary = record.verdict, record.summary
    text = Text(f"{SIGNS.get(verdict.shown_status, ' ')} {verdict.shown_status}", STYLES.get(verdict.shown_status, ""))
    if verdict.live and summary.epochs:
        text.append(f" {summary.epoch}/{summary.epochs}", "not dim")
    if summary.last.top1 is not None:
        text.append(f" {fmt.percent(summary.last.top1)} %", "none")
    if verdict.reason and verdict.status != "completed":
        text.append(f" {one_line(verdict.reason)}", "none")
    return text
