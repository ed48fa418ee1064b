"""What the screens share: the runs as last read, which are opened, compared and pinned, and what is remembered."""

from collections.abc import Callable
from pathlib import Path

from textual.message import Message

from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.messages import ProblemMet, RunSeen, RunsListed, TrendsRead
from rbp_tui.dashboard.reading.reader import RunsReader, Sight
from rbp_tui.dashboard.reading.sparklines import Trend
from rbp_tui.dashboard.view_state import ViewState, load_state, save_state


class Session:
    """The dashboard over one runs directory, from its start until it is left.

    `records` has all runs, oldest first, once they are `listed`; `sights` and `trends` have what was read of a run, by
    its id. `opened` is the run of the Monitor, `compared` are those of the Compare screen, `baseline` is the pinned
    one, each by id. `since` says what happened since the last visit.
    """

    def __init__(self, runs: Path, post: Callable[[Message], None]) -> None:
        """`post` is given the messages of the reader, in a thread of its own."""
        self.runs = runs
        self.state: ViewState = load_state()
        self.since = ""
        self.listed = False
        self.records: tuple[RunRecord, ...] = ()
        self.sights: dict[str, Sight] = {}
        self.trends: dict[str, Trend] = {}
        self.opened: str | None = None
        self.compared: list[str] = self.state.compared
        self.baseline: str | None = self.state.baseline or None
        self.reader = RunsReader(
            runs,
            lambda records: post(RunsListed(records)),
            lambda sight: post(RunSeen(sight)),
            lambda trends: post(TrendsRead(trends)),
            lambda problem: post(ProblemMet(problem)),
        )

    def take_records(self, records: tuple[RunRecord, ...]) -> None:
        """Take in all runs as they are now; what was read of those that are gone goes."""
        self.listed = True
        self.records = records
        there = {record.run.id for record in records}
        self.sights = {run_id: sight for run_id, sight in self.sights.items() if run_id in there}

    def record_of(self, run_id: str | None) -> RunRecord | None:
        """The record of a run as last read; None if it is gone."""
        return next((record for record in self.records if record.run.id == run_id), None)

    def sight_of(self, run_id: str | None) -> Sight | None:
        """What is known of a run that is being read; None if it is not, or not yet."""
        return self.sights.get(run_id or "")

    @property
    def live(self) -> list[RunRecord]:
        return [record for record in self.records if record.verdict.live]

    def pin(self, run_id: str) -> str:
        """Hold other runs against this one; against none if it is the pinned one. Says which it is now."""
        self.baseline = None if self.baseline == run_id else run_id
        return f"{run_id} is the baseline" if self.baseline else "no baseline"

    def leave(self, theme: str) -> None:
        """Stop reading, and remember for the next visit how things were left; `theme` is empty for the default."""
        self.reader.stop()
        self.state.compared, self.state.baseline = self.compared, self.baseline or ""
        self.state.left_live = [record.run.id for record in self.live]
        self.state.theme = theme
        save_state(self.state)
