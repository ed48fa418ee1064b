"""What is posted to the app: news, by the reader's thread, and where to go, by the screens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.reading.sparklines import Trend


@dataclass
class RunsListed(Message):
    """All runs, oldest first; of several that wait, only the newest is handled."""

    records: tuple[RunRecord, ...]

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunsListed)


@dataclass
class RunSeen(Message):
    """New events or another state of a run that is on screen; of several of one run, only the newest is handled."""

    sight: Sight

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunSeen) and message.sight.run.id == self.sight.run.id


@dataclass
class TrendsRead(Message):
    """New validations of runs in the list; only of those where there are any."""

    trends: dict[str, Trend]


@dataclass
class ProblemMet(Message):
    """Something of the runs could not be read, in words; each is told once."""

    problem: str


@dataclass
class OpenRun(Message):
    """Show a run in the Monitor."""

    run_id: str


@dataclass
class CompareRuns(Message):
    """Show runs side by side."""

    run_ids: Sequence[str]


@dataclass
class CloneRun(Message):
    """Write the settings of a run as a preset of the user's own, and edit that."""

    run_id: str


@dataclass
class LaunchPreset(Message):
    """Open the launch form for a preset; nothing is created before it is confirmed."""

    path: Path
    name: str
