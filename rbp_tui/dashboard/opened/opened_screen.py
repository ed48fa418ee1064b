"""A screen that follows the run opened last, with its head."""

import functools
import time
from dataclasses import replace
from typing import ClassVar

from rich.text import Text

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.opened.head import Head, why_text
from rbp_tui.dashboard.opened.state_text import RunState, run_state
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.run_screen import RunScreen
from rbp_tui.dashboard.screen_base import ChartScreen
from rbp_tui.text.live_text import progress_text, title_text

OLD = ("stale", "lost", "gone")  # the data of such a run may be out of date


class OpenedRunScreen(RunScreen, ChartScreen):
    """Shows the opened run. `seen` has its newest data, even once its folder is gone."""

    CLOCK_S: ClassVar[float] = 1.0

    watched: str | None = None
    seen: Sight | None = None
    run_state = RunState("")
    _keys: tuple[object, ...] = ()  # what the available keys depend on

    # What the screens do with the run

    def run_opened(self, run: RunDirectory | None, *, new: bool) -> None:
        """Called when the screen begins to follow a run; `new` if it has shown another one before."""

    def show_all(self) -> None:
        """Draw everything."""

    def progress(self, sight: Sight, now: float, width: int) -> Text:
        """The second row of the head."""
        return progress_text(sight.summary, sight.verdict, sight.history, self.run_state.status, now, width)

    # Following it

    def watch_opened(self) -> None:
        """Have the opened run read in full, or if none is opened the newest that trains, else the newest in lists."""
        session = self.session
        if session.opened is None and session.in_lists:
            training = [record for record in session.in_lists if record.verdict.status == "running"]
            session.opened = (training or session.in_lists)[-1].run.id
        new = self.watched != session.opened
        if new:
            self.watched, self.seen = session.opened, None
        session.reader.watch([session.opened] if session.opened else [])
        # A run launched a moment ago is not in the list yet, but its id gives its folder.
        self.run_opened(RunDirectory(session.runs / session.opened) if session.opened else None, new=new)
        self.show_all()

    @property
    def ready(self) -> bool:
        return super().ready and (self.seen is not None or self.session.record_of(self.session.opened) is None)

    def on_screen_resume(self) -> None:
        self.watch_opened()

    def on_resize(self) -> None:
        self.show_all()

    def runs_changed(self) -> None:
        super().runs_changed()
        if self.session.opened is None or self.session.opened != self.watched:
            self.watch_opened()
        self.show_head()

    def sight_changed(self) -> None:
        self.seen = self.session.sights.get(self.session.opened or "") or self.seen

    def show_head(self) -> None:
        """Draw the current state of the run, which also depends on the time."""
        head, sight = self.query_one(Head), self.seen
        if sight is None:
            there = self.session.record_of(self.session.opened) is not None
            missing = f"{self.session.opened} is not there; " if self.session.opened else "No run to show; "
            said = "reading…" if there else f"{missing}2 shows the runs."
            head.show(Text(f" {said}", "dim"), Text(), Text())
            return
        now = time.time()
        there = self.session.record_of(sight.run.id) is not None
        silence, keys = time.monotonic() - sight.heard, functools.cache(self.keys)
        state = run_state(sight, there=there, silence=silence, key_of=lambda name: keys().get(name, ""))
        self.run_state, width = state, head.columns
        title = title_text(sight.summary, sight.history, state.status, state.doing, width)
        head.show(title, self.progress(sight, now, width), why_text(state, width))
        depends_on = (sight.run, state.status, sight.history.failure is None)
        if depends_on != self._keys:
            self._keys = depends_on
            self.refresh_bindings()
            for chart in self.query(CurveChart):
                chart.dimmed = state.status in OLD

    # Keys

    @property
    def targets(self) -> list[RunRecord]:
        """The run that is shown, while it is there, with the status that is shown: the list of runs may be behind."""
        record = self.session.record_of(self.session.opened)
        return [] if record is None or self.seen is None else [replace(record, verdict=self.seen.verdict)]

    def keys(self) -> dict[str, str]:
        """The user's keys for the actions that do something now, by name; it asks all of them, which takes long."""
        active = reversed(self.active_bindings.values())  # of several keys, the first is shown
        return {one.binding.id or "": self.app.get_key_display(one.binding) for one in active if one.enabled}

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to go through runs if there are several."""
        return super().check_action(action, parameters) and (action != "step" or len(self.neighbours) > 1)

    def action_compare(self) -> None:
        """Show the run beside the baseline, or beside the runs of its experiment."""
        own = [record.run.id for record in self.targets]
        experiments = [record.summary.experiment for record in self.targets]
        seeds = [one.run.id for one in self.session.records if one.summary.experiment in experiments and not one.hidden]
        baseline = self.session.state.baseline
        others = [baseline] if baseline else seeds
        self.session.screens.compare(list(dict.fromkeys([*others, *own])))

    def action_step(self, by: int) -> None:
        """The run before or after this one, of those that the filter of Runs shows; after the last the first."""
        ids = self.neighbours
        if self.session.opened in ids:
            self.session.opened = ids[(ids.index(self.session.opened) + by) % len(ids)]
            self.runs_changed()

    @property
    def neighbours(self) -> list[str]:
        """The runs to step through: those that the filter of Runs shows, and the opened one in its place."""
        shown = {record.run.id for record in self.session.in_lists} | {self.session.opened}
        return [record.run.id for record in self.session.records if record.run.id in shown]
