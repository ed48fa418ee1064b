"""What the reader's thread posts to the app; of several that wait, only the newest is handled."""

from textual.message import Message

from rbp_engine.run.store import RunRecord
from rbp_tui.dashboard.reader import Sight


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
