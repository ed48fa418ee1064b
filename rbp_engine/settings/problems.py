"""All problems of a settings file, reported at once."""

from collections.abc import Iterable
from dataclasses import dataclass

from rbp_engine.errors import UserError

_MOST_SHOWN = 50


@dataclass(frozen=True)
class Problem:
    """One problem.

    `key` is the dotted key, empty for the file as a whole. `line` counts from 1. `source` is set if the value does not
    come from the file that the error names, but from another file (a parent) or an override word.
    """

    key: str
    message: str
    line: int | None = None
    source: str | None = None

    @property
    def place(self) -> str:
        """Where the value is written, as `line 7`, `base.toml line 7` or `lr=x`; empty for a default."""
        line = "" if self.line is None else f"line {self.line}"
        return " ".join(part for part in (self.source, line) if part)


def describe_problems(source: str, problems: Iterable[Problem]) -> str:
    """Format problems under their source, one per line, with messages aligned; of hundreds only the first."""
    rows = [(_left_column(problem), problem.message) for problem in problems]
    width = max((len(left) for left, _ in rows[:_MOST_SHOWN]), default=0)
    count = f"{len(rows)} problem" if len(rows) == 1 else f"{len(rows)} problems"
    lines = [f"  {left.ljust(width)}  {message}" if width else f"  {message}" for left, message in rows[:_MOST_SHOWN]]
    more = [f"  and {len(rows) - _MOST_SHOWN} more"] if len(rows) > _MOST_SHOWN else []
    return "\n".join([f"{source}: {count}", *lines, *more])


def _left_column(problem: Problem) -> str:
    if problem.key and problem.place:
        return f"{problem.key} ({problem.place})"
    return problem.key or problem.place


class SettingsFileError(UserError):
    """A file of settings cannot be used: `source` is the file, or its name; `problems` has every problem found."""

    def __init__(self, source: object, problems: Iterable[Problem]) -> None:
        self.source = str(source)
        self.problems = tuple(problems)
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        return describe_problems(self.source, self.problems)


class PresetError(SettingsFileError):
    """A preset cannot be used: not found, not readable, not TOML, or with invalid settings."""
