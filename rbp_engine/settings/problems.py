"""What is wrong with a file of settings, all of it at once."""

from collections.abc import Iterable
from dataclasses import dataclass

from rbp_engine.errors import UserError


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    `key` is the dotted key, empty when the file as a whole is meant. `line` counts from 1. `source` is set
    when the value does not come from the file named by the error: another file (a parent) or an override
    word.
    """

    key: str
    message: str
    line: int | None = None
    source: str | None = None

    @property
    def place(self) -> str:
        """Where the value stands, as `line 7`, `base.toml line 7` or `lr=x`; empty if nobody wrote it."""
        line = "" if self.line is None else f"line {self.line}"
        return " ".join(part for part in (self.source, line) if part)


def describe_problems(source: str, problems: Iterable[Problem]) -> str:
    """Lay problems out under their source, one a line, messages aligned."""
    rows = [(_left_column(problem), problem.message) for problem in problems]
    width = max((len(left) for left, _ in rows), default=0)
    count = f"{len(rows)} problem" if len(rows) == 1 else f"{len(rows)} problems"
    lines = [f"  {left.ljust(width)}  {message}" if width else f"  {message}" for left, message in rows]
    return "\n".join([f"{source}: {count}", *lines])


def _left_column(problem: Problem) -> str:
    if problem.key and problem.place:
        return f"{problem.key} ({problem.place})"
    return problem.key or problem.place


class PresetError(UserError):
    """A preset that cannot be used: not found, not readable, not TOML, or with settings that are refused.

    `source` is the file (or the name, when there is no file); `problems` holds every problem found.
    """

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        return describe_problems(self.source, self.problems)
