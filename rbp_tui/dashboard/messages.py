"""Messages to the app: news from the reader's thread, and requests for other screens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.hosts import HostSight
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.reading.sparklines import Trend


@dataclass
class RunsListed(Message):
    """All runs, oldest first. Of several pending messages only the newest is handled."""

    records: tuple[RunRecord, ...]

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunsListed)


@dataclass
class RunSeen(Message):
    """New events or a new state of a run on screen. Of several pending ones per run only the newest is handled."""

    sight: Sight

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunSeen) and message.sight.run.id == self.sight.run.id


@dataclass
class TrendsRead(Message):
    """New validations of those runs in the list that have some."""

    trends: dict[str, Trend]


@dataclass
class HostSeen(Message):
    """Another host has answered, or has not."""

    sight: HostSight


@dataclass
class ProblemMet(Message):
    """A message about something that could not be read; each is posted once."""

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
class RunAgain(Message):
    """Open the launch form filled from a run; nothing is created before it is confirmed."""

    run_id: str


@dataclass
class PresetFromRun(Message):
    """Write the settings of a run as a preset of the user's own, and edit it."""

    run_id: str


@dataclass
class SweepOfRun(Message):
    """Show the table of the sweep that a run belongs to."""

    run_id: str


@dataclass
class SweepOfPreset(Message):
    """Show the table of the sweep that a preset has."""

    path: Path
    name: str


@dataclass
class LaunchPreset(Message):
    """Open the launch form for a preset; nothing is created before it is confirmed."""

    path: Path
    name: str
