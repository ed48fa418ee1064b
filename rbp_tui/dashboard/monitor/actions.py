"""Actions on the run that the Monitor shows."""

from typing import ClassVar

import numpy as np
from textual.binding import Binding, BindingType

from rbp_engine.run.cause import Cause
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import LIVE
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.messages import CompareRuns, PresetFromRun, RunAgain, SweepOfRun
from rbp_tui.dashboard.monitor.log_pane import TRACEBACK, LogPane
from rbp_tui.dashboard.monitor.marks import timeline
from rbp_tui.dashboard.monitor.seeds import siblings
from rbp_tui.dashboard.opened.screen import OpenedRunScreen
from rbp_tui.dashboard.run_control import RunControlScreen
from rbp_tui.dashboard.session import Session

AXES = ("epoch", "step", "time")
NEED_A_RUN = ("again", "sweep", "preset", "find", "compare", "pin", "tag", "note", "axis")


class MonitorActions(RunControlScreen, OpenedRunScreen):
    """The keys of the Monitor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "stop", "stop", id="monitor.stop"),
        Binding("k", "kill", "kill", id="monitor.kill"),
        Binding("r", "resume", "resume", id="monitor.resume"),
        Binding("C", "again", "run again, changed", id="monitor.again", show=False),
        Binding("P", "preset", "make a preset of it", id="monitor.preset", show=False),
        Binding("w", "sweep", "sweep", id="monitor.sweep", tooltip="the table of the sweep it belongs to", show=False),
        Binding("T", "traceback", "traceback", id="monitor.traceback"),
        Binding("slash", "find", "find", id="monitor.find", key_display="/"),
        Binding("m", "rank(1)", "rank", id="monitor.rank"),
        Binding("M", "rank(-1)", "previous rank", id="monitor.rank_back", show=False),
        Binding("comma", "seed(-1)", "previous seed", id="monitor.seed_back", show=False),
        Binding("full_stop", "seed(1)", "next seed", id="monitor.seed", show=False),
        Binding("x", "axis", "axis", id="monitor.axis"),
        Binding("z", "zoom_panel", "zoom", id="monitor.zoom"),
        Binding("c", "compare", "compare", id="monitor.compare", show=False),
        Binding("b", "pin", "pin as the baseline", id="monitor.pin", show=False),
        Binding("t", "tag", "tags", id="monitor.tag", show=False),
        Binding("a", "note", "note", id="monitor.note", show=False),
        Binding("less_than_sign", "step_run(-1)", "previous run", id="monitor.previous", show=False),
        Binding("greater_than_sign", "step_run(1)", "next run", id="monitor.next", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.traceback_shown = False  # in the place of the curves
        self.process = ""  # shows its memory and log: a rank, "launcher", or empty for the fullest rank

    def seeds(self) -> list[RunRecord]:
        """The runs of the same experiment, by seed."""
        return siblings(self.session.records, self.session.opened or "")

    @property
    def run(self) -> RunDirectory:
        """The run that the keys are for, which are there only while one is shown."""
        assert self.seen is not None
        return self.seen.run

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
        status = self.seen.verdict.status if self.seen and self.run_state.status != "gone" else ""
        summary = self.seen.summary if self.seen else None
        foreign = summary is not None and bool(summary.program)  # another program trains it, and rbp cannot
        match action:
            case "stop":
                return status in LIVE - {"stopping"}
            case "kill":
                return status in LIVE | {"lost"} and not foreign
            case "resume":
                if self.seen is None or not status or foreign:
                    return False
                # The run's own copy of the code has the fault, and a resume runs that copy.
                of_own_code = self.seen.verdict.cause is Cause.OWN_CODE
                return status == "completed" or (self.seen.verdict.resumable and not of_own_code)
            case "again" | "preset" if foreign and summary is not None and not summary.preset:
                return False
            case "traceback":
                failure = self.seen.history.failure if self.seen else None
                return not self.traceback_shown and (status == "failed" or bool(status and failure))
            case "rank":
                return len(self.processes()) > 1
            case "seed":
                return len(self.seeds()) > 1
            case "step_run":
                return len(self.neighbours) > 1
        return action not in NEED_A_RUN or bool(status)

    def action_stop(self) -> None:
        """Let the run save and end."""
        self.stop_runs([self.run])

    def action_kill(self) -> None:
        """End the run at once."""
        self.kill_runs([self.run])

    def action_resume(self) -> None:
        """Go on with the run from its newest checkpoint; with a completed one for more epochs."""
        if self.seen is not None and self.seen.verdict.status == "completed":
            self.train_longer([self.run])
        else:
            self.resume_runs([self.run])

    def action_again(self) -> None:
        """Launch another run with its settings, changed."""
        self.post_message(RunAgain(self.run.id))

    def action_sweep(self) -> None:
        """Show the table of the sweep that the run belongs to."""
        self.post_message(SweepOfRun(self.run.id))

    def action_preset(self) -> None:
        """Write its settings as a preset, and edit that."""
        self.post_message(PresetFromRun(self.run.id))

    def action_tag(self) -> None:
        """Change the tags of the run."""
        if (record := self.session.record_of(self.session.opened)) is not None:
            self.edit_tags(record.run)

    def action_note(self) -> None:
        """Write a note on the run."""
        if (record := self.session.record_of(self.session.opened)) is not None:
            self.edit_note(record.run)

    def action_pin(self) -> None:
        """Hold other runs against this one; again, no longer."""
        self.notify(self.session.pin(self.run.id), markup=False)
        self.runs_changed()

    def action_compare(self) -> None:
        """Show the run beside the baseline, or beside its other seeds."""
        seeds = [record.run.id for record in self.seeds()]
        others = [self.session.baseline] if self.session.baseline else seeds
        self.post_message(CompareRuns(list(dict.fromkeys([*others, self.run.id]))))

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

    def action_rank(self, by: int) -> None:
        """Memory and log of the next process; after the last, of the rank that needs most memory."""
        names = ["", *self.processes()]
        at = names.index(self.process) if self.process in names else 0
        self._choose(names[(at + by) % len(names)])

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

    def action_seed(self, by: int) -> None:
        """The next seed of the same experiment."""
        self.step_through([record.run.id for record in self.seeds()], by)
