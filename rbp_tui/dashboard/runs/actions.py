"""The runs that are chosen in the table: marks, the verbs on them, and the queue for those that wait."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType

from rbp_engine.errors import UserError
from rbp_engine.run import start
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.queue import arrange
from rbp_engine.run.queue.observe import is_paused
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.run_screen import RunScreen
from rbp_tui.dashboard.runs.elsewhere import only_there
from rbp_tui.dashboard.runs.rows import Rows
from rbp_tui.dashboard.runs.table import RunTable
from rbp_tui.dashboard.session import Session
from rbp_tui.dashboard.verbs import Verb
from rbp_tui.hosts.records import host_of
from rbp_tui.text.run_text import named


class RunActions(RunScreen):
    """The verbs act on the marked runs, or on those under the cursor if none is marked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause_all", "pause", id="pause", show=False, tooltip="the queue, or let it go on"),
        Binding("shift+up", "move(False)", "earlier", id="earlier", show=False, tooltip="in the queue"),
        Binding("shift+down", "move(True)", "later", id="later", show=False, tooltip="in the queue"),
    ]
    PALETTE: ClassVar[dict[str, str]] = {
        "Make a preset of the run": "preset",
        "Move waiting runs to the front of the queue": "to_front",
        "Move waiting runs to the end of the queue": "to_end",
        "Pause the whole queue, or let it go on": "pause_all",
    }

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.rows = Rows()
        self.marked: set[str] = set()

    @property
    def shown(self) -> Sequence[RunRecord]:
        """The runs in the table, in order."""
        return self.rows.records

    @property
    def under_cursor(self) -> list[RunRecord]:
        """The run under the cursor, or the runs of the group there."""
        key = self.query_one(RunTable).current
        here = () if key is None else self.rows.groups.get(key, (key,))
        return [record for record in self.shown if record.run.id in here]

    def make_rows(self) -> None:
        """Make the rows of the table anew."""
        raise NotImplementedError

    @property
    def marked_shown(self) -> list[RunRecord]:
        """The marked runs that the filter does not hide."""
        return [record for record in self.shown if record.run.id in self.marked]

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

    def fitting(self, name: str) -> list[RunDirectory]:
        if not self.targets:
            self.refuses_elsewhere()
        return super().fitting(name)

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
        self.query_one(RunTable).action_cursor_down()

    def action_mark_all(self) -> None:
        """Mark all runs that are shown, or none of them."""
        self._toggle_marks({record.run.id for record in self.shown if not host_of(record)})

    def _toggle_marks(self, runs: set[str]) -> None:
        self.marked = self.marked - runs if runs <= self.marked else self.marked | runs
        self.make_rows()

    # The queue

    def action_pause_all(self) -> None:
        """Start nothing that waits, or end that."""
        if is_paused():
            self._arrange(partial(arrange.set_paused, False), "the queue goes on")
        else:
            self._arrange(partial(arrange.set_paused, True), "the queue of this host is paused; what runs goes on")

    def action_move(self, later: bool) -> None:
        """Move the waiting run by one."""
        for run in self._waiting()[:1]:
            self._arrange(partial(arrange.move_by_one, run, later=later), "")

    def action_to_front(self) -> None:
        """Move the waiting runs to the front."""
        if runs := self._waiting():
            self._arrange(lambda: arrange.move(runs, first=True), f"moved {named(runs)} to the front of the queue")

    def action_to_end(self) -> None:
        """Move the waiting runs to the end."""
        if runs := self._waiting():
            self._arrange(lambda: arrange.move(runs, first=False), f"moved {named(runs)} to the end of the queue")

    def _waiting(self) -> list[RunDirectory]:
        """The chosen runs that wait; if there are none, it says so."""
        runs = [record.run for record in self.targets if record.verdict.status == "queued"]
        if not runs:
            self.notify("no chosen run waits in the queue", severity="warning")
        return runs

    @work(thread=True, group="runs")
    def _arrange(self, change: Callable[[], object], done: str) -> None:
        """Change the queue in a thread, for another process may have its lock."""
        try:
            change()
            start.ensure_dispatcher()
        except UserError as error:
            self.notify(str(error), severity="error", timeout=8, markup=False)
        else:
            if done:
                self.notify(done, markup=False)
