"""Monitor: one run, live: header, loss, accuracy, memory, speed, log, and the newest alert."""

import time
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Footer, Static

from rbp_engine.run.curves import Curve
from rbp_engine.run.events import ErrorRaised, WarningRaised
from rbp_tui import format as fmt
from rbp_tui.dashboard.panels.log import LogPane
from rbp_tui.dashboard.reader import Sight
from rbp_tui.dashboard.screens.base import DashboardScreen, TopBar
from rbp_tui.dashboard.widgets.chart_messages import CursorMoved, ViewChanged
from rbp_tui.dashboard.widgets.curve_chart import CurveChart
from rbp_tui.dashboard.widgets.palette import SeriesColours
from rbp_tui.dashboard.widgets.series import Series
from rbp_tui.run_text import SIGNS, STYLES, remaining_s, title

AXES = ("epoch", "step", "time")


class MonitorScreen(DashboardScreen):
    """Follows the run that was opened last; stale, lost, failed and finished runs say why."""

    NAME = "monitor"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "stop", "stop", id="monitor.stop"),
        Binding("k", "kill", "kill", id="monitor.kill"),
        Binding("r", "resume", "resume", id="monitor.resume"),
        Binding("x", "axis", "x axis", id="monitor.axis"),
        Binding("z", "zoom_panel", "zoom", id="monitor.zoom"),
        Binding("comma", "step_run(-1)", "previous run", id="monitor.previous", show=False),
        Binding("full_stop", "step_run(1)", "next run", id="monitor.next", show=False),
    ]

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield Static(id="head")
        yield Static(id="progress")
        with Horizontal(id="charts"):
            colours = SeriesColours()
            yield CurveChart(title="loss", colours=colours, id="loss")
            yield CurveChart(title="top-1 %", colours=colours, id="top1")
        yield Static(id="memory")
        yield Static(id="speed")
        yield LogPane(id="log")
        yield Static(id="alert", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#loss", CurveChart).focus()

    def on_screen_resume(self) -> None:
        self._watch()
        super().on_screen_resume()

    def on_screen_suspend(self) -> None:
        self.dashboard.reader.watch(())

    def _watch(self) -> None:
        """Read the opened run in full; without one, the newest."""
        app = self.dashboard
        if app.record_of(app.opened) is None and app.records:
            app.opened = app.records[-1].run.id
        app.reader.watch([app.opened] if app.opened else [])
        record = app.record_of(app.opened)
        self.query_one(LogPane).follow(record.run if record else None)

    @property
    def sight(self) -> Sight | None:
        """What is known of the opened run."""
        return self.dashboard.sight_of(self.dashboard.opened)

    def runs_changed(self) -> None:
        super().runs_changed()
        if self.dashboard.record_of(self.dashboard.opened) is None:
            self._watch()
            self.sight_changed()
        elif self.sight is not None:
            self._show_head(self.sight)

    def sight_changed(self) -> None:
        sight = self.sight
        if sight is None:
            empty = "No run to show; open one with 2." if not self.dashboard.records else "reading…"
            self.query_one("#head", Static).update(empty)
            self.query_one("#progress", Static).update("")
            return
        self._show_head(sight)
        self._show_charts(sight)
        self._show_numbers(sight)

    def _show_head(self, sight: Sight) -> None:
        summary, verdict = sight.summary, sight.verdict
        status = f"{SIGNS.get(verdict.status, ' ')} {verdict.status.upper()}"
        head = Text(f" {title(summary)}   ", style="bold", no_wrap=True)
        head.append(status, style=STYLES.get(verdict.status, ""))
        if sight.device:
            head.append(f"   {sight.device}", style="dim")
        if verdict.reason:
            head.append(f"   {verdict.reason}", style="dim")
        self.query_one("#head", Static).update(head)
        done = summary.step / summary.steps if summary.steps else 0.0
        eta = remaining_s(summary) if verdict.live else None
        text = Text(f" epoch {summary.epoch}/{summary.epochs} ", no_wrap=True)
        filled = round(24 * done)
        text.append("━" * filled, style=STYLES.get(verdict.status, "")).append("━" * (24 - filled), style="dim")
        text.append(f" {100 * done:.0f} %   elapsed {fmt.duration(summary.trained_s)}")
        if eta is not None:
            text.append(f"   ETA {fmt.duration(eta)} → {time.strftime('%H:%M', time.localtime(time.time() + eta))}")
        if sight.checkpoint_at is not None and verdict.live:
            text.append(f"   ckpt {fmt.duration(time.time() - sight.checkpoint_at)} ago", style="dim")
        self.query_one("#progress", Static).update(text)

    def _show_charts(self, sight: Sight) -> None:
        state, curves = self.dashboard.state, sight.curves
        axis = state.x_axis if state.x_axis in AXES else "epoch"
        loss, top1 = self.query_one("#loss", CurveChart), self.query_one("#top1", CurveChart)
        for chart in (loss, top1):
            chart.x_axis = axis  # type: ignore[assignment]  # one of AXES
            chart.dimmed = not sight.verdict.live
        loss.set_series(
            [
                *_series("train", curves.get("train/loss"), axis),
                *_series("validation", curves.get("validation/loss"), axis),
            ]
        )
        top1.set_series(
            [
                *_series("train", curves.get("train/top1"), axis, scale=100.0),
                *_series("validation", curves.get("validation/top1"), axis, scale=100.0, best=True),
            ]
        )

    def _show_numbers(self, sight: Sight) -> None:
        width = max(10, min(60, self.size.width // 4))
        memory, peak = sight.curves.get("memory"), sight.curves.get("mem_peak")
        line = Text(" mem   ", style="dim", no_wrap=True)
        if memory is not None and len(memory):
            line.append(fmt.sparkline(memory.value.tolist(), width), style="magenta")
            highest = float(peak.value[-1]) if peak is not None and len(peak) else None
            line.append(f"  {fmt.size(float(memory.value[-1]))}   peak {fmt.size(highest)}")
        self.query_one("#memory", Static).update(line)
        speed, step, data = (sight.curves.get(name) for name in ("speed", "step_ms", "data_ms"))
        line = Text(" speed ", style="dim", no_wrap=True)
        if speed is not None and step is not None and data is not None and len(speed):
            line.append(fmt.sparkline(speed.value.tolist(), width), style="yellow")
            share = 100.0 * float(data.value[-1]) / float(step.value[-1]) if step.value[-1] else 0.0
            line.append(
                f"  {fmt.thousands(float(speed.value[-1]))} samples/s   step {float(step.value[-1]):.1f} ms   "
                f"data {share:.0f} %"
            )
        self.query_one("#speed", Static).update(line)
        alert = self.query_one("#alert", Static)
        alert.display = bool(sight.alerts)
        if sight.alerts:
            event = sight.alerts[-1]
            message = event.body.message if isinstance(event.body, (WarningRaised, ErrorRaised)) else ""
            alert.update(f" ! {time.strftime('%H:%M', time.localtime(event.t))} {message}")

    @on(CursorMoved)
    def _cursor_moved(self, message: CursorMoved) -> None:
        for chart in self.query(CurveChart):
            chart.set_cursor(message.x)

    @on(ViewChanged)
    def _view_changed(self, message: ViewChanged) -> None:
        for chart in self.query(CurveChart):
            chart.set_view(*(message.x_range or (None, None)))

    def action_stop(self) -> None:
        """Let the run save and end."""
        if self.sight is not None:
            self.dashboard.stop_run(self.sight.run)

    def action_kill(self) -> None:
        """End the run at once."""
        if self.sight is not None:
            self.dashboard.kill_run(self.sight.run)

    def action_resume(self) -> None:
        """Go on with the run from its newest checkpoint."""
        if self.sight is not None:
            self.dashboard.resume_run(self.sight.run)

    def action_axis(self) -> None:
        """The next x axis: epoch, step, time."""
        state = self.dashboard.state
        position = AXES.index(state.x_axis) if state.x_axis in AXES else 0
        state.x_axis = AXES[(position + 1) % len(AXES)]
        for chart in self.query(CurveChart):
            chart.set_view(None, None)
        self.sight_changed()

    def action_zoom_panel(self) -> None:
        """The focused panel alone, or all of them."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None:
            self.maximize(self.focused)

    def action_step_run(self, by: int) -> None:
        """The run before or after this one."""
        ids = [record.run.id for record in self.dashboard.records]
        if self.dashboard.opened in ids:
            self.dashboard.opened = ids[(ids.index(self.dashboard.opened) + by) % len(ids)]
            self._watch()
            self.sight_changed()


def _series(label: str, curve: Curve | None, axis: str, *, scale: float = 1.0, best: bool = False) -> list[Series]:
    if curve is None or not len(curve):
        return []
    values = scale * curve.value
    return [Series(label, label, curve.axis(axis), values, marker="highest" if best else None)]
