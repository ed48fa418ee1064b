"""Sort runs by a field of the query language."""

from collections.abc import Sequence
from typing import Any

from rbp_engine.run.store.query_fields import find_field
from rbp_engine.run.store.store import RunRecord


def sort_runs(records: Sequence[RunRecord], field_name: str) -> list[RunRecord]:
    """Sort by a field, accuracies from the best; `-field` reverses the order; unknown values come last.

    Raises ValueError for an unknown field, and names the nearest one.
    """
    field = find_field(field_name.removeprefix("-"))
    known: list[tuple[Any, RunRecord]] = []
    unknown = []
    for record in records:
        value = field.get(record)
        if value is None or value == "" or value == ():
            unknown.append(record)
        else:
            known.append((value if isinstance(value, (int, float)) else str(value).lower(), record))
    # Numbers before texts: entries of a preset's tables may be either.
    known.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]), reverse=descends(field_name))
    return [record for _, record in known] + unknown


def descends(field_name: str) -> bool:
    """Whether the order begins with the largest value. Raises ValueError for an unknown field."""
    return field_name.startswith("-") is not (find_field(field_name.removeprefix("-")).kind == "accuracy")


def reversed_order(field_name: str) -> str:
    """The opposite order."""
    return field_name.removeprefix("-") if field_name.startswith("-") else f"-{field_name}"
