"""The error of this package."""

from collections.abc import Sequence

from rbp_engine.errors import DataError


class Unreadable(DataError):
    """Some recordings cannot be read; `problems` has a message for each, which names its file."""

    def __init__(self, problems: Sequence[str], total: int) -> None:
        self.problems = tuple(problems)
        self.total = total
        super().__init__(self.problems, total)

    def __str__(self) -> str:
        count = len(self.problems)
        which = "the first is " if count > 1 else ""
        return f"{count} of {self.total} recordings cannot be read, so none were converted: {which}{self.problems[0]}"
