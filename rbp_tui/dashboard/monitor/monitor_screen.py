"""Monitor: one run, live: its state, curves, memory, speed, probes, log, and the newest alert."""

import asyncio
import functools
from typing import ClassVar

import numpy as np
from rich.style import Style
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Footer

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.history.history import History
from rbp_tui.charts.palette import SeriesColours
from rbp_tui.charts.run_curves import LOSS, TOP1
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.monitor import run_chart
from rbp_tui.dashboard.monitor.alerts import alert_text, alerts_beside, events_text
from rbp_tui.dashboard.monitor.card import card_text
from rbp_tui.dashboard.monitor.log_pane import TRACEBACK, LogPane
from rbp_tui.dashboard.monitor.marks import timeline
from rbp_tui.dashboard.monitor.no_curves import NoCurves, Notice, has_curves, notice
from rbp_tui.dashboard.monitor.ranks import ranks_text
from rbp_tui.dashboard.monitor.run_chart import MemoryChart, RunChart
from rbp_tui.dashboard.opened.head import Head
from rbp_tui.dashboard.opened.opened_screen import OpenedRunScreen
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.screen_base import TopBar
from rbp_tui.dashboard.text_line import Line, TextPanel
from rbp_tui.text.live_text import busy_text, cost_text, firing_text, logged_text, memory_text, speed_text
from rbp_tui.text.words import explained

AXES = ("epoch", "step", "time")
GAUGES = {name for name, _, _ in (*run_chart.SPEED, *run_chart.STEP_TIME, *run_chart.RATE)} | {"memory"}


class MonitorScreen(OpenedRunScreen):
    """Follows the run opened last; shows why a run is stale, lost, failed or gone."""

    HELP = explained("rate_M", "rate_S", "silent", "saturated")
    NAME = "monitor"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (160, "-very-wide")]  # noqa: RUF012  # as Textual has it
    VERTICAL_BREAKPOINTS = [(0, "-low"), (34, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("T", "traceback", "traceback", id="monitor.traceback"),
    ]

    traceback_shown = False  # in the place of the curves
    process = ""  # shows its memory and log: a rank, "launcher", or empty for the fullest rank
    _card: tuple[object, ...] = ()  # what the card was last read for

    @property
    def live(self) -> bool:
        """Whether the screen shows the current state of a live run, and not what an attempt before it has left."""
        return (
            self.seen is not None
            and self.seen.verdict.live
            and self.run_state.status not in ("gone", "stale", "queued", "starting")
        )

    def run_opened(self, run: RunDirectory | None, *, new: bool) -> None:
        if new:
            self.process = ""
        self.query_one(LogPane).follow(run)

    def processes(self) -> list[str]:
        """The names of the ranks, and of everything else that has a log."""
        ranks = [str(process.rank) for process in self.seen.history.processes] if self.seen else []
        logs = [name for pane in self.query(LogPane) for name in pane.names]
        return list(dict.fromkeys([*ranks, *logs]))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer a key only if it does something."""
        match action:
            case "find" | "axis":
                return bool(self.targets)
            case "traceback":
                failure = self.seen.history.failure if self.seen else None
                failed = any(record.verdict.status == "failed" or failure for record in self.targets)
                return not self.traceback_shown and failed
            case "view":
                return len(self.processes()) > 1
        return super().check_action(action, parameters)

    def action_find(self) -> None:
        """Find something in the log."""
        self.query_one(LogPane).search()

    def action_traceback(self) -> None:
        """Show the traceback of the rank that failed first."""
        if not self.query_one(LogPane).show_traceback():
            self.notify("there is no traceback in the events or in the logs", timeout=5)

    def action_log(self, name: str) -> None:
        """Show the log of a process, or the traceback."""
        if name == TRACEBACK:
            self.action_traceback()
        else:
            self._choose(name)

    def action_view(self) -> None:
        """Memory and log of the next process; after the last, of the rank that needs most memory."""
        names = ["", *self.processes()]
        at = names.index(self.process) if self.process in names else 0
        self._choose(names[(at + 1) % len(names)])

    def _choose(self, name: str) -> None:
        self.process = name
        pane = self.query_one(LogPane)
        if name or pane.names:  # a run may have no logs
            pane.show_process(name or pane.names[0])
        self.show_all()

    @property
    def axis(self) -> str:
        """What the charts are over: as chosen, or steps in a run that does not tell how many an epoch has."""
        chosen = self.session.state.x_axis if self.session.state.x_axis in AXES else AXES[0]
        known = timeline(self.seen.history.curves) if self.seen is not None else None
        without_epochs = known is not None and not np.isfinite(known.epoch[-1:]).any()
        return "step" if chosen == "epoch" and without_epochs else chosen

    def action_axis(self) -> None:
        """The next x axis: epoch, step, time."""
        self.session.state.x_axis = AXES[(AXES.index(self.axis) + 1) % len(AXES)]
        for chart in self.query(CurveChart):
            chart.set_view(None, None)
        self.show_all()

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield Head(id="head")
        curves, gauges = SeriesColours(), SeriesColours()
        with Horizontal(id="charts"):
            yield NoCurves(id="no_curves")
            yield RunChart("loss", LOSS, colours=curves, id="loss")
            yield RunChart("top-1 %", TOP1, 100.0, colours=curves, id="top1")
            yield TextPanel(id="card")
        with Horizontal(id="gauges"):
            yield MemoryChart("memory", colours=SeriesColours(), id="memory_chart")
            yield RunChart("samples/s", run_chart.SPEED, colours=gauges, id="speed_chart")
            yield RunChart("ms per step", run_chart.STEP_TIME, colours=gauges, id="step_chart")
            yield RunChart("learning rate", run_chart.RATE, colours=gauges, id="lr_chart")
        yield Line(id="memory")
        yield Line(id="speed")
        yield Line(id="spikes")
        with Horizontal(id="bottom"):
            yield LogPane(id="log")
            yield TextPanel(id="ranks")
            yield TextPanel(id="happenings")
        yield Line(id="alert", wraps=True)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        loss, top1 = self.query_one("#loss", RunChart), self.query_one("#top1", RunChart)
        self.keep(loss, "y_log", "loss_log")
        self.keep(loss, "smoothing", "loss_smoothing")
        self.keep(top1, "smoothing", "top1_smoothing")
        loss.focus()
        self.set_interval(self.CLOCK_S, self._show_rest)

    def runs_changed(self) -> None:
        super().runs_changed()
        self._read_card()

    def show_all(self) -> None:
        """Draw everything that has changed, and clear the previous run while another is read."""
        if self.seen is None:
            for chart in self.query(RunChart):
                chart.show(History(), "epoch")
            for line in self.query("TextPanel Line").results(Line):
                line.show_text(Text())
            for line in self.query("#memory, #speed, #spikes, #alert").results(Line):
                line.show_or_hide(Text())
        self.sight_changed()
        self._show_rest()
        self._show_cursor()

    def sight_changed(self) -> None:
        """Draw what each event may change: the head, loss, accuracy, the lines; of a run just opened the rest, too."""
        first = self.seen is None
        super().sight_changed()
        self.show_head()
        if self.seen is not None:
            for chart in self.query("#charts RunChart").results(RunChart):
                chart.show(self.seen.history, self.axis)
            self._show_lines(self.seen)
            self.query_one(LogPane).set_history(self.seen.history)
        self._show_whether_there_are_curves()
        if first:
            self._show_rest()
            self._show_cursor()

    def _show_rest(self) -> None:
        """Draw what need not follow each event, and the head, which also depends on the time."""
        self.show_head()
        if self.seen is not None:
            for chart in self.query("#gauges RunChart").results(RunChart):
                chart.show(self.seen.history, self.axis)
            self._show_lists(self.seen)

    def cursor_moved(self, chart: Widget, x: float | None) -> None:
        super().cursor_moved(chart, x)
        known = timeline(self.seen.history.curves) if self.seen is not None else None
        if known is not None:
            self.session.look_at(None if x is None else float(np.interp(x, known.axis(self.axis), known.step)))

    def _show_cursor(self) -> None:
        """Put the cursor where it was left, maybe on another screen."""
        known = timeline(self.seen.history.curves) if self.seen is not None else None
        step = self.session.step
        x = None if known is None or step is None else float(np.interp(step, known.step, known.axis(self.axis)))
        super().cursor_moved(self, x)

    def _show_whether_there_are_curves(self) -> None:
        """Show the charts once they have a point, and until then why there is none."""
        some = has_curves(self.seen)
        self.set_class(self.seen is None or not self.seen.history.curves.keys() & GAUGES, "-no-gauges")
        if some == self.has_class("-no-curves"):
            self.minimize()
            in_charts = self.focused is None or self.query_one("#charts") in self.focused.ancestors
            self.set_class(not some, "-no-curves")
            if in_charts:
                self.query_one("#loss" if some else "#no_curves_traceback").focus()
        shown = Notice("") if some else notice(self.seen, self.run_state)
        self.query_one(NoCurves).show(shown)
        self.query_one(LogPane).leave_out(shown.traceback)
        if bool(shown.traceback) != self.traceback_shown:
            self.traceback_shown = bool(shown.traceback)
            self.show_head()
            self.refresh_bindings()

    def _show_lines(self, sight: Sight) -> None:
        history = sight.history
        width = max(8, min(60, self.size.width // 5))
        rank = int(self.process) if self.process.isdigit() else None
        memory, speed = Text(), Text()
        # Where the charts of memory and speed have room, they say it.
        if not self.has_class("-tall") or self.has_class("-narrow"):
            memory, speed = cost_text(sight.summary), Text()
            if self.live:
                memory = memory_text(history.curves, history.processes, rank, width)
                speed = speed_text(history, width)
        elif self.live:
            speed = busy_text(history.processes)
        self.query_one("#memory", Line).show_or_hide(memory)
        self.query_one("#speed", Line).show_or_hide(speed)
        self.query_one("#spikes", Line).show_or_hide(self._spikes(history))
        listed = self.query_one("#happenings").display
        alerts = () if listed else alerts_beside(history, self.run_state.why)
        self.query_one("#alert", Line).show_or_hide(alert_text(alerts, () if listed else sight.judged))

    @functools.cached_property
    def _layers_key(self) -> str:
        # Asked for once: no key changes while the dashboard is open, and each event draws the line that has it.
        return self.keys().get("screen.network", "")

    def _spikes(self, history: History) -> Text:
        """The firing rates by layer, and the key of the screen that tells more; of another program what it has logged.
        Empty before there are any."""
        if history.firing is None:
            logged = logged_text(history) if history.foreign else Text()
            return Text.assemble((" logged ", "dim"), logged) if logged else logged
        label = " spikes "
        more = f"{self._layers_key} shows the layers"
        line = Text.assemble((label, "dim"), firing_text(history.firing, self.size.width - len(label) - 1, more))
        line.stylize(Style(meta={"@click": "app.switch_mode('network')"}))
        return line

    def _show_lists(self, sight: Sight) -> None:
        history = sight.history
        rank = int(self.process) if self.process.isdigit() else None
        several = len(history.processes) > 1
        if several != self.has_class("-several"):
            self.set_class(several, "-several")
            self.refresh_bindings()
        if several:
            self.query_one("#ranks", TextPanel).show_text(ranks_text(history.processes, rank))
        self.query_one("#happenings", TextPanel).show_text(
            events_text(history, alerts_beside(history, self.run_state.why), sight.kept, sight.judged)
        )

    def _read_card(self) -> None:
        """Read the card again if the run, its annotations, or what it is compared with has changed."""
        record = self.session.record_of(self.session.opened)
        if record is None:
            return
        wanted = (record.run, record.annotations, self.session.state.baseline)
        if wanted != self._card:
            self._card = wanted
            baseline = self.session.record_of(self.session.state.baseline)
            self._load_card(record.run, baseline.run if baseline else None)

    @work(group="card")
    async def _load_card(self, run: RunDirectory, baseline: RunDirectory | None) -> None:
        text = await asyncio.to_thread(card_text, run, baseline)
        if run.id == self.session.opened:
            self.query_one("#card", TextPanel).show_text(text)
