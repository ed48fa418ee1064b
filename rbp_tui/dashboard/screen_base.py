"""Base classes of the screens: the session, the bar at the top, charts that move together."""

import time
from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeAlias

from rich.style import Style
from rich.text import Text
from textual import on, work
from textual.binding import BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.charts.messages import CursorMoved, ViewChanged
from rbp_tui.dashboard.row_table import hidden_in_help
from rbp_tui.dashboard.session import Session
from rbp_tui.dashboard.text_line import Line
from rbp_tui.dashboard.verbs import BY_NAME, VERBS
from rbp_tui.text.run_text import LIVE

# Typed text is read after a pause: half a word means something else than the whole word.
TYPING_PAUSE_S = 0.2
Task: TypeAlias = Callable[[], Awaitable[None]]
SCREENS = ("presets", "runs", "monitor", "compare", "system", "network")


class TopBar(Line):
    """The screens, which can be clicked, with the current one marked, and how many runs are live, and wait for it."""

    def show(self, current: str, live: int, queued: int) -> None:
        bar = Text.assemble((" rbp  ", "bold"))
        for number, name in enumerate(SCREENS, start=1):
            here = name == current
            click = {"@click": f"app.switch_mode({name!r})"}
            bar.append(f" {number} {name.capitalize()} ", Style(reverse=here, bold=here, dim=not here, meta=click))
        for count, words, style in ((live, "● {} live", f"bold {LIVE}"), (queued, "{} queued", "dim")):
            if count:
                bar.append(f"   {words.format(count)}", style=style)
        self.show_text(bar)


class DashboardScreen(Screen[None]):
    """A screen of the dashboard. `runs_changed` and `sight_changed` are called when the reader has news."""

    NAME: str = ""
    BINDINGS: ClassVar[list[BindingType]] = [*hidden_in_help(Screen), *(verb.binding for verb in VERBS)]
    #: What is done so seldom that it has no key: the palette has it, by its title and action.
    PALETTE: ClassVar[dict[str, str]] = {}

    resumed_at = float("inf")  # by the monotonic clock

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._under_way: set[Task] = set()
        self._wanted: set[Task] = set()

    @property
    def ready(self) -> bool:
        """Whether the runs are listed, and what was asked for is drawn, so that keys can act on it."""
        return self.session.listed and not self._wanted and not self._under_way

    def redo(self, task: Task) -> None:
        """Do what takes a while; asked for it again before it is done, do it once more then."""
        self._wanted.add(task)
        if task not in self._under_way:
            self._under_way.add(task)
            self._do(task)

    @work
    async def _do(self, task: Task) -> None:
        try:
            while task in self._wanted:
                self._wanted.discard(task)
                await task()
        finally:
            self._under_way.discard(task)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer a shared key only where it does something."""
        return action not in BY_NAME or hasattr(self, f"action_{action}")

    def on_screen_resume(self) -> None:
        self.resumed_at = time.monotonic()
        self.runs_changed()
        self.sight_changed()

    def runs_changed(self) -> None:
        """The list of runs, or the state of one of them, has changed."""
        for bar in self.query(TopBar):
            queued = sum(record.verdict.status == "queued" for record in self.session.live)
            bar.show(self.NAME, len(self.session.live) - queued, queued)

    def show_table_or(self, why_empty: str, table: Widget) -> None:
        """Show the table, with the focus if nothing else has it; or in its place, in `#empty`, why it is empty."""
        table.display = not why_empty
        empty = self.query_one("#empty", Static)
        empty.display = bool(why_empty)
        if why_empty:
            empty.update(why_empty)
            if self.focused is table:
                self.set_focus(None)
        elif self.focused is None:
            table.focus()

    def sight_changed(self) -> None:
        """A run that is being watched has new events."""

    def list_changed(self) -> None:
        """The list of runs has more to show: another host has answered, or a run has new validations."""


class ChartScreen(DashboardScreen):
    """A screen whose charts share one cursor and one view of the x axis. What it has had read is read no longer once
    another kind of screen is shown."""

    def on_screen_suspend(self) -> None:
        # Another one has its own read, as this one has behind a dialog.
        if not any(isinstance(screen, ChartScreen) for screen in self.app.screen_stack):
            self.session.reader.watch(())

    def action_back(self) -> None:
        """Show all panels again."""
        self.minimize()

    def action_zoom(self) -> None:
        """The focused panel alone, or all of them."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None:
            self.maximize(self.focused)

    def keep(self, chart: CurveChart, attribute: str, name: str) -> None:
        """Restore what a chart is set to from the view state, and keep it there from now on."""
        state = self.session.state

        def remember(value: object) -> None:
            setattr(state, name, value)

        setattr(chart, attribute, getattr(state, name))
        self.watch(chart, attribute, remember, init=False)

    def cursor_moved(self, chart: Widget, x: float | None) -> None:
        """The user has moved the cursor of a chart: by default it goes to the same place in all."""
        for one in self.query(CurveChart):
            one.set_cursor(x)

    @on(CursorMoved)
    def _cursor_moved(self, message: CursorMoved) -> None:
        self.cursor_moved(message.chart, message.x)

    @on(ViewChanged)
    def _view_changed(self, message: ViewChanged) -> None:
        for chart in self.query(CurveChart):
            chart.set_view(*(message.x_range or (None, None)))
