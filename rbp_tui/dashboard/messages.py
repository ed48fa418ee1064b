"""What the reader's thread posts to the app; of several states of the same that wait, only the newest is handled."""

from textual.message import Message

from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.reading.sparklines import Trend


class RunsListed(Message):
    """All runs, oldest first."""

    def __init__(self, records: tuple[RunRecord, ...]) -> None:
        super().__init__()
        self.records = records

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunsListed)


class RunSeen(Message):
    """New events or another state of a run that is on screen."""

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
