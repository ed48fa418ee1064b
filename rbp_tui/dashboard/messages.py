"""What is posted to the app: news, by the reader's thread, and where to go, by the screens."""

from collections.abc import Sequence
from pathlib import Path

from textual.message import Message

from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.reading.sparklines import Trend


class RunsListed(Message):
    """All runs, oldest first; of several that wait, only the newest is handled."""

    def __init__(self, records: tuple[RunRecord, ...]) -> None:
        super().__init__()
        self.records = records

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunsListed)


class RunSeen(Message):
    """New events or another state of a run that is on screen; of several of one run, only the newest is handled."""

    def __init__(self, sight: Sight) -> None:
        super().__init__()
        self.sight = sight

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunSeen) and message.sight.run.id == self.sight.run.id


class TrendsRead(Message):
    """New validations of runs in the list; only of those where there are any."""

    def __init__(self, trends: dict[str, Trend]) -> None:
        super().__init__()
        self.trends = trends


class ProblemMet(Message):
    """Something of the runs could not be read, in words; each is told once."""

    def __init__(self, problem: str) -> None:
        super().__init__()
        self.problem = problem


class OpenRun(Message):
    """Show a run in the Monitor."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id


class CompareRuns(Message):
    """Show runs side by side."""

    def __init__(self, run_ids: Sequence[str]) -> None:
        super().__init__()
        self.run_ids = run_ids


class CloneRun(Message):
    """Write the settings of a run as a preset of the user's own, and edit that."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id


class LaunchPreset(Message):
    """Open the launch form for a preset; nothing is created before it is confirmed."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__()
        self.path = path
        self.name = name
