"""Actions on the run that the Monitor shows."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
from textual.binding import Binding, BindingType

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.messages import CompareRuns
from rbp_tui.dashboard.monitor.log_pane import TRACEBACK, LogPane
from rbp_tui.dashboard.monitor.marks import timeline
from rbp_tui.dashboard.opened.screen import OpenedRunScreen
from rbp_tui.dashboard.run_screen import RunScreen
from rbp_tui.dashboard.session import Session

AXES = ("epoch", "step", "time")


class MonitorActions(RunScreen, OpenedRunScreen):
    """The keys of the Monitor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("T", "traceback", "traceback", id="monitor.traceback"),
    ]
    PALETTE: ClassVar[dict[str, str]] = {"Make a preset of the run": "preset"}

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.traceback_shown = False  # in the place of the curves
        self.process = ""  # shows its memory and log: a rank, "launcher", or empty for the fullest rank

    @property
    def targets(self) -> list[RunRecord]:
        """The run that is shown, while it is there, with the status that is shown: the list of runs may be behind."""
        record = self.session.record_of(self.session.opened)
        return [] if record is None or self.seen is None else [replace(record, verdict=self.seen.verdict)]

    @property
    def live(self) -> bool:
        """Whether the screen shows the current state of a live run."""
        return self.seen is not None and self.seen.verdict.live and self.run_state.status not in ("gone", "stale")

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
            case "find" | "axis" | "preset":
                return bool(self.targets)
            case "traceback":
                failure = self.seen.history.failure if self.seen else None
                failed = any(record.verdict.status == "failed" or failure for record in self.targets)
                return not self.traceback_shown and failed
            case "view":
                return len(self.processes()) > 1
        return super().check_action(action, parameters)

    def action_compare(self) -> None:
        """Show the run beside the baseline, or beside the runs of its experiment."""
        own = [record.run.id for record in self.targets]
        experiments = [record.summary.experiment for record in self.targets]
        seeds = [one.run.id for one in self.session.records if one.summary.experiment in experiments and not one.hidden]
        others = [self.session.baseline] if self.session.baseline else seeds
        self.post_message(CompareRuns(list(dict.fromkeys([*others, *own]))))

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
        self.query_one(LogPane).show_process(name or self.query_one(LogPane).names[0])
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
