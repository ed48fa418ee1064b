"""Network: what the layers of the opened run do, in tabs, at any moment of its training."""

import math
from typing import ClassVar

import numpy as np
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.css.query import NoMatches
from textual.widget import Widget
from textual.widgets import Footer

from rbp_engine.run.history.samples import Floats
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.network.evaluation import EvaluationTab
from rbp_tui.dashboard.network.gradients import GradientsTab
from rbp_tui.dashboard.network.health import HealthTab
from rbp_tui.dashboard.network.own import OwnTab
from rbp_tui.dashboard.network.rates import RatesTab
from rbp_tui.dashboard.network.tab import NetworkTab
from rbp_tui.dashboard.opened.head import Head
from rbp_tui.dashboard.opened.opened_screen import OpenedRunScreen
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.screen_base import TopBar
from rbp_tui.dashboard.text_line import Line
from rbp_tui.text import format as fmt
from rbp_tui.text.live_text import LONGEST_BAR, SHORTEST_BAR

#: The tabs from left to right.
TABS: tuple[type[NetworkTab], ...] = (
    RatesTab,
    GradientsTab,
    HealthTab,
    EvaluationTab,
    OwnTab,
)
DRAW_S = 0.5  # a tab does not follow each event: to draw all layers takes as long as a whole Monitor


def next_step(steps: Floats, step: float | None, by: int) -> float:
    """The sampled step `by` samples after a step, or before; None is the newest. It ends at the last and the first."""
    at = len(steps) - 1 if step is None else int(np.abs(steps - step).argmin())
    return float(steps[max(0, min(len(steps) - 1, at + by))])


def replay_text(sight: Sight, steps: Floats, step: float, steps_per_epoch: float, width: int) -> Text:
    """The moment that is looked at, on a bar over the training so far."""
    last = max(1.0, float(steps[-1]) if len(steps) else step, step)
    epoch = f"epoch {step / steps_per_epoch:.2f} of {sight.summary.epochs}" if steps_per_epoch > 0 else ""
    number = f"sample {int(np.abs(steps - step).argmin()) + 1} of {len(steps)}" if len(steps) else ""
    left = Text.assemble(" ", ("● at", "bold magenta"), f" {epoch} ")
    right = Text("   ".join(part for part in (f" step {fmt.thousands(step)}", number) if part))
    length = max(SHORTEST_BAR, min(LONGEST_BAR, width - left.cell_len - right.cell_len - 1))
    at = min(length - 1, int(length * step / last))
    return Text.assemble(left, ("━" * at, "magenta"), ("●", "bold magenta"), ("━" * (length - 1 - at), "dim"), right)


class NetworkScreen(OpenedRunScreen):
    """Tabs over the opened run, at the moment that the session looks at."""

    NAME = "network"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-wide")]  # noqa: RUF012  # as Textual has it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "sample(-1)", "back", id="network.back", tooltip="by one sample"),
        Binding("right", "sample(1)", "forth", id="network.forth", tooltip="by one sample"),
    ]

    _drawn: tuple[NetworkTab, Sight | None, float | None] | None = None

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield Head(id="head")
        yield Line(id="tabs")
        with Container(id="pages"):
            for tab in TABS:
                yield tab()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.set_interval(self.CLOCK_S, self.show_head)
        self.set_interval(DRAW_S, self._show_tab)
        self.action_open(self.session.state.network_tab)

    # Drawing

    def show_all(self) -> None:
        self.set_class(self.session.opened is None, "-no-run")
        self.show_head()
        self._show_tab()

    def sight_changed(self) -> None:
        first = self.seen is None
        super().sight_changed()
        self.show_head()
        if first:
            self._show_tab()

    def on_resize(self) -> None:
        self._drawn = None

    def _show_tab(self) -> None:
        """Draw the open tab, unless it shows this already."""
        drawn = (self.tab, self.seen, self.session.step)
        if self._drawn is None or any(one is not other for one, other in zip(drawn, self._drawn, strict=True)):
            self._drawn = drawn
            self.tab.show(self.seen, self.session.step)
            for chart in self.tab.query(CurveChart):
                chart.set_cursor(self._x(chart))

    def _x(self, chart: CurveChart) -> float | None:
        """Where the step that is looked at is on a chart."""
        if self.session.step is None or chart.x_axis != "epoch":
            return self.session.step
        return self.session.step / self._steps_per_epoch

    @property
    def _steps_per_epoch(self) -> float:
        attempt = self.seen.history.attempt if self.seen is not None else None
        return float((attempt and attempt.begun.steps_per_epoch) or math.nan)

    def progress(self, sight: Sight, now: float, width: int) -> Text:
        """Where training is, or which moment of it is looked at."""
        if self.session.step is None:
            return super().progress(sight, now, width)
        return replay_text(sight, self._steps, self.session.step, self._steps_per_epoch, width)

    # Tabs

    @property
    def tab(self) -> NetworkTab:
        """The tab that is open.

        Raises:
            NoMatches: The tabs are gone already, since the dashboard is being left.
        """
        for tab in self.query(NetworkTab):
            if tab.display:
                return tab
        raise NoMatches("no tab is open")

    def action_open(self, title: str) -> None:
        """Open the tab of this title, or the first."""
        self.minimize()
        tabs = list(self.query(NetworkTab))
        opened = next((tab for tab in tabs if title == tab.TITLE), tabs[0])
        for tab in tabs:
            tab.display = tab is opened
        self.session.state.network_tab = opened.TITLE
        bar = Text(" ")
        for tab in tabs:
            here = tab is opened
            click = {"@click": f"screen.open({tab.TITLE!r})"}
            bar.append(tab.TITLE, Style(bold=here, underline=here, dim=not here, meta=click)).append("  ")
        self.query_one("#tabs", Line).show_text(bar)
        self.show_all()
        if first := next((widget for widget in opened.query("*") if widget.focusable), None):
            first.focus()

    def action_view(self) -> None:
        """The next tab."""
        titles = [tab.TITLE for tab in TABS]
        self.action_open(titles[(titles.index(self.tab.TITLE) + 1) % len(titles)])

    # The moment that is looked at

    @property
    def _steps(self) -> Floats:
        """The sampled steps of the open tab."""
        return self.tab.steps(self.seen) if self.seen is not None else np.empty(0)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer a key only if it does something."""
        match action:
            case "sample":
                return len(self._steps) > 1
            case "back":
                return self.session.step is not None or self.maximized is not None
        return super().check_action(action, parameters)

    def look_at(self, step: float | None) -> None:
        """Look at a step, None for the newest."""
        if step == self.session.step:
            return
        offered = (step is None) != (self.session.step is None)
        self.session.look_at(step)
        self.show_all()
        if offered:
            self.refresh_bindings()

    def cursor_moved(self, chart: Widget, x: float | None) -> None:
        """The cursor of a chart was moved: all tabs show that moment."""
        epochs = isinstance(chart, CurveChart) and chart.x_axis == "epoch"
        self.look_at(None if x is None else x * (self._steps_per_epoch if epochs else 1.0))

    def action_sample(self, by: int) -> None:
        """One sample back, or forth."""
        if len(steps := self._steps):
            self.look_at(next_step(steps, self.session.step, by))

    def action_back(self) -> None:
        """Show all panels again, or follow the run again."""
        if self.maximized is not None:
            self.minimize()
        else:
            self.look_at(None)
