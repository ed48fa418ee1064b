"""Actions of the Compare screen: choose a group, hide it, pin it, open it; change what is drawn."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from rbp_engine.report.compare import Comparison, Group
from rbp_engine.report.equal_cost import EqualCost, equal_cost
from rbp_engine.report.seed_statistics import MeanCurve
from rbp_engine.run.status.curves import Curve
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.compare.curves import AXES, CURVES, OWN, ComparedCurves, all_curves
from rbp_tui.dashboard.messages import OpenRun
from rbp_tui.dashboard.run_screen import RunScreen
from rbp_tui.dashboard.screen_base import ChartScreen
from rbp_tui.dashboard.session import Session


class CompareActions(RunScreen, ChartScreen):
    """The keys of the Compare screen. The chart has the focus, so its keys work as well."""

    NAME = "compare"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "choose(-1)", "previous row", id="compare.previous", show=False),
        Binding("down", "choose(1)", "next row", id="compare.next", show=False),
        Binding("pageup", "scroll_table(-1)", "scroll the table up", id="compare.page_up", show=False),
        Binding("pagedown", "scroll_table(1)", "scroll the table down", id="compare.page_down", show=False),
        Binding("enter", "open", "open", id="compare.open"),
        Binding("dollar_sign", "equal_cost", "cost", id="compare.equal_cost", tooltip="accuracies at equal cost"),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.comparison: Comparison | None = None
        self.each_run = False  # as requested; the comparison follows
        self.equal_cost = False  # whether the table shows what is reached at equal cost
        self.chosen = ""  # the key of the group that actions apply to
        self.hidden: set[str] = set()
        self.curves = ComparedCurves()

    @property
    def groups(self) -> Sequence[Group]:
        return self.comparison.groups if self.comparison else ()

    def key_of(self, group: Group) -> str:
        """The lasting key of a group: its experiment, or its run."""
        apart = self.comparison is not None and self.comparison.each_run
        return group.runs[0].run.id if apart else group.experiment

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

    def mean(self, group: Group, name: str) -> MeanCurve | None:
        """The mean curve of a group, as far as it has been read."""
        return self.curves.curve(group, name, self.axis, self._curves_of)

    def _curves_of(self, run_id: str) -> dict[str, Curve] | None:
        sight = self.session.sights.get(run_id)
        return all_curves(sight.history) if sight else None

    def _run_ids(self) -> list[str]:
        return [one.run.id for group in self.groups for one in group.counting]

    def draw(self) -> None:
        """Redraw the curves."""

    def show_table(self) -> None:
        """Redraw the table."""

    def compare_again(self) -> None:
        """Compare the runs again in their current state."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer a key only if it does something."""
        match action:
            case "choose" | "open" | "mark" | "scroll_table" | "zoom" | "view" | "axis":
                return bool(self.groups)
            case "equal_cost":
                return self.equal_cost or len(self.groups) > 1
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

    def action_choose(self, by: int) -> None:
        """The row above or below."""
        keys = [self.key_of(group) for group in self.groups]
        at = keys.index(self.chosen) if self.chosen in keys else 0
        self.choose_row(min(max(at + by, 0), len(keys) - 1))

    def choose_row(self, number: int) -> None:
        """Make actions apply to this group."""
        if 0 <= number < len(self.groups):
            self.chosen = self.key_of(self.groups[number])
            self.show_table()

    def action_scroll_table(self, by: int) -> None:
        """Another part of the table."""
        table = self.query_one("#groups", VerticalScroll)
        table.scroll_relative(y=by * max(1, table.size.height - 1), animate=False)

    def action_open(self) -> None:
        """Show the run, or the first of the experiment, in the Monitor."""
        if self.group is not None:
            self.post_message(OpenRun(self.group.runs[0].run.id))

    def action_mark(self) -> None:
        """Leave the curve out of the charts, or put it back."""
        if self.group is not None:
            self.hidden ^= {self.key_of(self.group)}
            self.show_table()
            self.draw()

    def action_pin(self) -> None:
        """Measure the others against this experiment, also in comparisons to come; again, no longer."""
        pinned = [record.run.id for record in self.targets if record.run.id == self.session.baseline]
        for run_id in (pinned or [record.run.id for record in self.targets])[:1]:
            self.notify(self.session.pin(run_id), markup=False)
            self.runs_changed()

    def at_equal_cost(self, comparison: Comparison) -> EqualCost:
        """What its groups reach at equal cost, as far as their curves have been read."""
        sights = self.session.sights

        def top1(run_id: str) -> Curve | None:
            return sights[run_id].history.curves.get("validation/top1") if run_id in sights else None

        return equal_cost(comparison, top1)

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
