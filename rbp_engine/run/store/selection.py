"""Select several runs for a command, by reference or by query."""

from collections.abc import Sequence
from pathlib import Path

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.query import parse_query
from rbp_engine.run.store.store import find_run, list_runs


def select_runs(runs: Path, words: Sequence[str]) -> list[RunDirectory]:
    """The selected runs, each once: a word with one of `:=<>` is a query, any other word names one run.

    Raises RunError for a reference that fits no run or several, and for a query that is invalid or fits none.
    """
    chosen: dict[RunDirectory, None] = {}
    for word in words:
        if any(sign in word for sign in ":=<>"):
            found = fitting_runs(runs, word)
            if not found:
                raise RunError(f"no run in {runs} fits {word!r}")
        else:
            found = [find_run(runs, word)]
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def fitting_runs(runs: Path, query: str) -> list[RunDirectory]:
    """The runs that fit a query, oldest first. Raises QueryError."""
    fits = parse_query(query)
    return [record.run for record in list_runs(runs) if fits(record)]
