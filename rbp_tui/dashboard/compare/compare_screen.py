"""Compare experiments: overlaid curves, the table of `rbp compare`, and the differences."""

import asyncio
import time
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.events import Click
from textual.geometry import Region
from textual.widgets import Footer, Static

from rbp_engine.report.compare import Comparison, Group, compare
from rbp_engine.report.equal_cost import equal_cost
from rbp_engine.run.history.curves import Curve
from rbp_engine.run.store.store import RunRecord
from rbp_tui.charts.plot import KEYS
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.compare.curves import AXES, CURVES, MEMORY, OWN, ComparedCurves, all_curves, series, title
from rbp_tui.dashboard.compare.selection import ComparedRuns, compared_runs
from rbp_tui.dashboard.run_screen import RunScreen
from rbp_tui.dashboard.screen_base import ChartScreen, TopBar
from rbp_tui.dashboard.session import Session
from rbp_tui.dashboard.text_line import Line
from rbp_tui.text import format as fmt
from rbp_tui.text.comparison_text import comparison_text, group_signs
from rbp_tui.text.equal_cost_text import equal_cost_text
from rbp_tui.text.words import explained

# Each of many runs has news many times a second: they are drawn together at each tick, and very many less often.
TICK_S, RUNS_A_TICK = 0.25, 12
# Live runs change every second. Reading many of them takes long, and may only take a share of the time.
COMPARE_EVERY_S, READING_SHARE = 1.0, 0.1
HIDDEN_MARK, NO_MARK = "○ ", "  "
TABLE_EDGE = 5  # mark, padding and scroll bar
# With many curves, stars hide more than they show.
STARRED_AT_MOST = 8


class CompareScreen(RunScreen, ChartScreen):
    """Follows the chosen runs, also while they are live."""

    HELP = explained("Δ", "rate_M", "rate_S")
    AUTO_FOCUS = "#first"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-wide")]  # noqa: RUF012  # as Textual has it
    NAME = "compare"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "choose(-1)", "previous row", id="compare.previous", show=False),
        Binding("down", "choose(1)", "next row", id="compare.next", show=False),
        Binding("pageup", "scroll_table(-1)", "scroll the table up", id="compare.page_up", show=False),
        Binding("pagedown", "scroll_table(1)", "scroll the table down", id="compare.page_down", show=False),
        Binding("enter", "open", "open", id="compare.open"),
        Binding("space", "mark", "hide", id="mark", tooltip="the curve, or show it again"),
        Binding("dollar_sign", "equal_cost", "cost", id="compare.equal_cost", tooltip="held equal for accuracies"),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.comparison: Comparison | None = None
        self.each_run = False  # as requested; the comparison follows
        self.equal_cost = False  # whether the table shows what is reached at equal cost
        self.chosen = ""  # the key of the group that actions apply to
        self.hidden: set[str] = set()
        self.curves = ComparedCurves()
        self.compared = ComparedRuns()
        # What the next tick must update.
        self._runs_stale = self._curves_stale = False
        self._made_at = self._drawn_at = float("-inf")
        self._making_took = 0.0

    @property
    def groups(self) -> Sequence[Group]:
        return self.comparison.groups if self.comparison else ()

    def key_of(self, group: Group) -> str:
        """The lasting key of a group: its experiment, or its run."""
        apart = self.comparison is not None and self.comparison.each_run
        return group.first.run.id if apart else "".join(group.first.experiment)  # other programs' may share a hash

    @property
    def group(self) -> Group | None:
        """The group that actions apply to."""
        chosen = (group for group in self.groups if self.key_of(group) == self.chosen)
        return next(chosen, self.groups[0] if self.groups else None)

    @property
    def axis(self) -> str:
        """What was asked for; without that, epochs, or steps if a run of another program has none."""
        if self.session.state.compared_over in AXES:
            return self.session.state.compared_over
        read = [curves.get(self.curve) for run_id in self._run_ids() if (curves := self._curves_of(run_id))]
        return AXES[any(curve is not None and np.isnan(curve.epoch[-1:]).any() for curve in read)]

    @property
    def curve_names(self) -> list[str]:
        """The curves that can be shown: those that every run may have, and the metrics of the runs' own."""
        found = [name for run_id in self._run_ids() for name in self._curves_of(run_id) or () if name.startswith(OWN)]
        return list(dict.fromkeys([*CURVES, *found]))

    @property
    def curve(self) -> str:
        wanted = self.session.state.compared_curve
        return wanted if wanted in self.curve_names else next(iter(CURVES))

    def _curves_of(self, run_id: str) -> dict[str, Curve] | None:
        sight = self.session.sights.get(run_id)
        return all_curves(sight.history) if sight else None

    def _run_ids(self) -> list[str]:
        return [one.run.id for group in self.groups for one in group.counting]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer a key only if it does something."""
        match action:
            case "choose" | "open" | "mark" | "scroll_table" | "zoom" | "view" | "axis":
                return bool(self.groups)
            case "equal_cost":
                return len(self.groups) > 1
            case "group":
                return self.each_run or any(len(group.runs) > 1 for group in self.groups)
            case "compare":
                return False
        return super().check_action(action, parameters)

    @property
    def targets(self) -> list[RunRecord]:
        """The runs of the chosen group."""
        ids = [one.run.id for one in self.group.runs] if self.group is not None else []
        return [record for run_id in ids if (record := self.session.record_of(run_id)) is not None]

    @property
    def one(self) -> list[RunRecord]:
        """The pinned run of the group, or its first."""
        pinned = [record for record in self.targets if record.run.id == self.session.state.baseline]
        return (pinned or self.targets)[:1]

    def action_choose(self, by: int) -> None:
        """The row above or below."""
        keys = [self.key_of(group) for group in self.groups]
        at = keys.index(self.chosen) if self.chosen in keys else 0
        self.choose_row(min(max(at + by, 0), len(keys) - 1))

    def choose_row(self, number: int) -> None:
        """Make actions apply to this group, and scroll it into view."""
        self._curves_stale = True  # the chosen curve is drawn over the others
        if 0 <= number < len(self.groups):
            self.chosen = self.key_of(self.groups[number])
            self.show_table()
            table = self.query_one("#groups")
            table.call_after_refresh(table.scroll_to_region, Region(0, number, 1, 1), animate=False, force=True)

    def action_scroll_table(self, by: int) -> None:
        """Another part of the table."""
        table = self.query_one("#groups", VerticalScroll)
        table.scroll_relative(y=by * max(1, table.size.height - 1), animate=False)

    def action_open(self) -> None:
        """Show the run, or the first of the experiment, in the Monitor."""
        if self.group is not None:
            self.session.screens.open_run(self.group.first.run.id)

    def action_mark(self) -> None:
        """Leave the curve out of the charts, or put it back."""
        if self.group is not None:
            self.hidden ^= {self.key_of(self.group)}
            self.show_table()
            self.draw()

    def action_group(self) -> None:
        """A curve and a row for each run, or for each experiment."""
        self.each_run = not self.each_run
        self.compare_again()

    def action_equal_cost(self) -> None:
        """What is reached after as many epochs, in the same time and memory; or the whole accuracies again."""
        self.equal_cost = not self.equal_cost
        self.show_table()
        self.refresh_bindings()

    def action_view(self) -> None:
        """The next curve: top-1, losses, metrics of the runs' own."""
        names = self.curve_names
        self.session.state.compared_curve = names[(names.index(self.curve) + 1) % len(names)]
        self.draw()

    def action_axis(self) -> None:
        """Over epochs, steps, seconds or peak memory."""
        self.session.state.compared_over = AXES[(AXES.index(self.axis) + 1) % len(AXES)]
        self.show_table()
        self.draw()

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield Line(id="about")
        yield Line(id="notes", wraps=True)
        with Horizontal(id="overlay"):
            yield CurveChart(colours=self.session.colours, id="first")
            yield CurveChart(colours=self.session.colours, id="second")
        yield Line(id="headings")
        with VerticalScroll(id="groups", can_focus=False):
            yield Line(id="table", wraps=True)
        yield Static(id="empty", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.set_interval(TICK_S, self._tick)
        self.keep(self.query_one("#first", CurveChart), "smoothing", "compared_smoothing")
        self.watch(self.app, "theme", self.show_table, init=False)

    def on_screen_resume(self) -> None:
        self.compared = ComparedRuns()  # another screen has had other runs read meanwhile
        super().on_screen_resume()

    def on_resize(self) -> None:
        self.show_table()
        self.draw()

    def runs_changed(self) -> None:
        super().runs_changed()
        session, state = self.session, self.session.state
        before, self.compared = self.compared, compared_runs(session.records, state.compared, state.baseline)
        ids = [record.run.id for record in self.compared.records]
        if ids != [record.run.id for record in before.records] or self.compared.baseline != before.baseline:
            session.reader.watch(ids)
            if not set(ids) & {one.run.id for group in self.groups for one in group.runs}:
                self.comparison = None
            self.compare_again()
        elif self.compared != before:
            self._runs_stale = True
        self.show_table()

    def sight_changed(self) -> None:
        self._curves_stale = True

    def _tick(self) -> None:
        if not self.is_current:
            return
        now = time.monotonic()
        if self._curves_stale and now - self._drawn_at >= TICK_S * (len(self.compared.records) // RUNS_A_TICK):
            self.draw()
            if self.equal_cost:  # made from the curves
                self.show_table()
        pause = max(COMPARE_EVERY_S, self._making_took / READING_SHARE)
        if self._runs_stale and now - self._made_at >= pause:
            self.compare_again()

    def compare_again(self) -> None:
        """Compare the runs again, in a thread: it reads files of all of them."""
        self._runs_stale = False
        self.redo(self._compare)

    async def _compare(self) -> None:
        start = time.monotonic()
        runs = [record.run for record in self.compared.records]
        baseline = self.compared.baseline.run if self.compared.baseline else None
        self.comparison = await asyncio.to_thread(compare, runs, baseline, each_run=self.each_run)
        self._made_at = time.monotonic()
        self._making_took = self._made_at - start
        self.curves.forget(self.groups)
        self.show_table()
        self.draw()
        self.refresh_bindings()

    def draw(self) -> None:
        """Redraw the curves; the second chart, if there is room, shows the next curve."""
        self._curves_stale, self._drawn_at = False, time.monotonic()
        names = self.curve_names
        first = names.index(self.curve)
        signs = group_signs(self.comparison) if self.comparison else []
        starred = sum(self.key_of(group) not in self.hidden for group in self.groups) <= STARRED_AT_MOST
        axis = self.axis
        for number, chart in enumerate(self.query(CurveChart)):
            if not chart.display:
                continue
            name = names[(first + number) % len(names)]
            chart.title = title(name)
            chart.x_axis = "GiB" if axis == MEMORY else axis  # type: ignore[assignment]  # one of AXES
            chart.set_series(
                [
                    series(
                        self.key_of(group),
                        sign.strip(),
                        mean,
                        name,
                        axis,
                        starred=starred,
                        emphasis=group is self.group or group.is_baseline,
                    )
                    for sign, group in zip(signs, self.groups, strict=True)
                    if self.key_of(group) not in self.hidden
                    and (mean := self.curves.curve(group, name, axis, self._curves_of)) is not None
                ]
            )

    def show_table(self) -> None:
        """Show the groups with their numbers, the differences, and the runs left out."""
        shown = bool(self.comparison and (self.groups or self.comparison.excluded))
        for name in ("#about", "#overlay", "#headings", "#groups"):
            self.query_one(name).display = shown
        notes = Text(" · ".join(self.compared.notes) if shown else "", "yellow")
        self.query_one("#notes", Line).show_or_hide(notes)
        empty = self.query_one("#empty", Static)
        empty.display = not shown
        if not shown or self.comparison is None:
            empty.update(self._why_empty())
            return
        self.query_one("#about", Line).show_text(self._about(self.comparison))
        width = max(1, self.size.width - TABLE_EDGE)
        if self.equal_cost and len(self.groups) > 1:
            equal = equal_cost(self.comparison, lambda run_id: (self._curves_of(run_id) or {}).get("validation/top1"))
            text = equal_cost_text(self.comparison, equal, width)
        else:
            text = comparison_text(self.comparison, width)
        self.query_one("#headings", Line).show_text(Text(NO_MARK).append_text(text.headings))
        parts = [self._row(group, part) for group, part in zip(self.groups, text.groups, strict=True)]
        rest = [text.below] if text.below else []
        rest += [Text(f"left out {run.id}: {run.reason}", style="dim") for run in self.comparison.excluded]
        self.query_one("#table", Line).show_text(Text("\n").join([*parts, Text(), *rest] if rest else parts))

    def _row(self, group: Group, text: Text) -> Text:
        """A group in the table, beside a mark in the colour of its curve; the chosen one stands out."""
        if self.key_of(group) in self.hidden:
            return Text.assemble((f"{HIDDEN_MARK}{text.plain}", "reverse dim" if self._stands_out(group) else "dim"))
        colours, key = self.session.colours, self.key_of(group)
        few, dark = self.app.native_ansi_color, self.app.current_theme.dark
        mark = f"{KEYS[colours.stroke(key, few=few)]} "  # as in the legend of the chart
        row = Text.assemble((mark, colours.colour(key, dark=dark, few=few)), text)
        if self._stands_out(group):
            row.stylize("reverse", len(mark))
        return row

    def _stands_out(self, group: Group) -> bool:
        return group is self.group and len(self.groups) > 1

    def _about(self, comparison: Comparison) -> Text:
        """The line about the comparison: the axis, the number of runs, and the baseline."""
        text = Text("x ", style="dim", overflow="ellipsis")
        for number, axis in enumerate(AXES):
            text.append("│" if number else "").append(axis, style="not dim bold" if axis == self.axis else "")
        text.append(f"   {fmt.counted(len(self.compared.records), 'run')}")
        if self.equal_cost and len(comparison.groups) > 1:
            text.append("   at equal cost", style="not dim bold")
        if comparison.groups:
            text.append(f"   ◆ {comparison.baseline_title}", style="not dim bold")
            text.append(" pinned" if self.compared.baseline else "")
        return text

    def _why_empty(self) -> str:
        if not self.session.listed or self.compared.records:
            return "reading…"
        return (
            f"Nothing to compare: no runs in {self.session.runs} yet.\n\n"
            "1 shows the presets: Enter launches one.\n2 shows the runs: Space marks some, c compares them."
        )

    @on(Click, "#table")
    def _clicked(self, event: Click) -> None:
        self.choose_row(event.y)
