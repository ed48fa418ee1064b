"""Select several runs for a command, by reference or by query."""

from collections.abc import Sequence
from pathlib import Path

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.query import is_query, parse_query
from rbp_engine.run.store.store import find_run, list_runs


def select_runs(runs: Path, words: Sequence[str], *, archived: bool = False) -> list[RunDirectory]:
    """The selected runs, each once: words with one of `:=<>`, or an @ in front, are one query, others a run each.

    A query finds runs in the archive only if it asks for them, or with `archived`.
    Raises RunError for a reference that fits no run or several, and for a query that is invalid or fits none.
    """
    chosen = dict.fromkeys(find_run(runs, word) for word in words if not is_query(word))
    if query := " ".join(filter(is_query, words)):
        found = fitting_runs(runs, query, archived=archived)
        if not found:
            raise RunError(f"no run in {runs} fits {query!r}")
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def fitting_runs(runs: Path, query: str, *, archived: bool = False) -> list[RunDirectory]:
    """The runs that fit a query, oldest first; those in the archive as for `select_runs`. Raises QueryError."""
    asked = parse_query(query)
    fits = asked if archived else asked.lists
    records = list_runs(runs)
    asked.require_known(records)
    return [record.run for record in records if fits(record)]
