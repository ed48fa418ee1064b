"""The state that the screens share: the runs as last read, those opened, compared and pinned, and the view state."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from textual.message import Message

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.query import QueryError, parse_query
from rbp_engine.run.store.store import RunRecord
from rbp_tui.charts.palette import SeriesColours
from rbp_tui.dashboard.reading.hosts import HostSight, HostsReader
from rbp_tui.dashboard.reading.machine_watch import MachineWatch
from rbp_tui.dashboard.reading.queue_watch import QueueWatch
from rbp_tui.dashboard.reading.reader import RunsReader, Sight
from rbp_tui.dashboard.reading.sparklines import Trend
from rbp_tui.dashboard.view_state import ViewState, load_state, save_state


class Screens(Protocol):
    """What a screen asks of the application: to show another one."""

    def open_run(self, run_id: str) -> object:
        """Show a run in the Monitor."""

    def compare(self, run_ids: Sequence[str]) -> object:
        """Show runs side by side."""

    def launch_preset(self, path: Path, name: str) -> object:
        """Open the launch form for a preset; nothing is created before it is confirmed."""

    def run_again(self, run_id: str) -> object:
        """Open the launch form filled from a run; nothing is created before it is confirmed."""

    def preset_from_run(self, run_id: str) -> object:
        """Write the settings of a run as a preset of the user's own, and edit it."""

    def sweep_of_run(self, run_id: str) -> object:
        """Show the table of the sweep that a run belongs to."""

    def sweep_of_preset(self, path: Path, name: str) -> object:
        """Show the table of the sweep that a preset has."""


class Session:
    """The dashboard on one runs directory, from its start until the user quits.

    `records` has all runs, oldest first, once they are `listed`; `sights` and `trends` have the data read of a run, by
    its id. `opened` is the run of the Monitor, by id; `moved` has the runs that were moved away together, and what
    brings one back, the last ones last. `query` is the filter of Runs. `step` is the optimizer step of the opened run
    where the cursor is, None without one. `colours` has the colour of each series of Compare, by experiment, or by run
    id where each run is a series. `hosts` are the other ones of machine.toml, as seen last. `screens` shows another
    screen. What is compared and which run is pinned is in `state`, which is kept for the next visit.
    """

    def __init__(self, runs: Path, screens: Screens, post: Callable[[Message], object]) -> None:
        """`post` receives the news of the readers, in their threads."""
        self.runs = runs
        self.screens = screens
        self.state: ViewState = load_state()
        self.query = ""
        self.listed = False
        self.records: tuple[RunRecord, ...] = ()
        self._in_lists: tuple[tuple[RunRecord, ...], str, tuple[RunRecord, ...]] = ((), "", ())  # of which, and which
        self.sights: dict[str, Sight] = {}
        self.trends: dict[str, Trend] = {}
        self.opened: str | None = None
        self.moved: list[tuple[list[RunDirectory], Callable[[RunDirectory], object]]] = []
        self.colours = SeriesColours()
        self._looked_at: tuple[str | None, float | None] = (None, None)  # the run and its step
        self.queue = QueueWatch()
        self.reader = RunsReader(runs, post, self.queue.with_places)
        self.machine = MachineWatch(runs)
        self.hosts: dict[str, HostSight] = {}
        self._readers = (self.reader, self.machine, self.queue, HostsReader(post))

    def start(self) -> None:
        """Start reading the runs, the queue, the machine and the other hosts."""
        for reader in self._readers:
            reader.start()

    def take_records(self, records: tuple[RunRecord, ...]) -> None:
        """Replace the list of runs, and forget what was read of those that are gone."""
        self.listed = True
        self.records = records
        there = {record.run.id for record in records}
        self.sights = {run_id: sight for run_id, sight in self.sights.items() if run_id in there}

    def record_of(self, run_id: str | None) -> RunRecord | None:
        """The record of a run as last read; None if it is gone."""
        return next((record for record in self.records if record.run.id == run_id), None)

    @property
    def in_lists(self) -> tuple[RunRecord, ...]:
        """The runs that the filter of Runs shows, oldest first; all but the archived ones if it cannot be read."""
        made_of = (self.records, self.query)
        if self._in_lists[0] is not made_of[0] or self._in_lists[1] != made_of[1]:
            try:
                query = parse_query(self.query)
            except QueryError:
                query = parse_query("")
            self._in_lists = (*made_of, tuple(record for record in self.records if query.lists(record)))
        return self._in_lists[2]

    @property
    def elsewhere(self) -> tuple[RunRecord, ...]:
        """The recent runs of other hosts."""
        return tuple(record for sight in self.hosts.values() for record in sight.records)

    @property
    def step(self) -> float | None:
        run_id, step = self._looked_at
        return step if run_id == self.opened else None

    def look_at(self, step: float | None) -> None:
        """Put the cursor at a step of the opened run, or remove it."""
        self._looked_at = (self.opened, step)

    @property
    def live(self) -> list[RunRecord]:
        return [record for record in self.records if record.verdict.live]

    def pin(self, run_id: str) -> str:
        """Pin a run as the baseline, or unpin it if it is pinned already. Returns the message to show."""
        self.state.baseline = "" if self.state.baseline == run_id else run_id
        return f"{run_id} is the baseline" if self.state.baseline else "no baseline"

    def leave(self, theme: str) -> None:
        """Stop reading and save the view state for the next visit; `theme` is empty for the default."""
        for reader in self._readers:
            reader.stop()
        self.state.theme = theme
        save_state(self.state)
