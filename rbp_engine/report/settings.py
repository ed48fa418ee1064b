"""The keys in which several tables differ."""

from collections.abc import Sequence
from typing import Any


def differing(tables: Sequence[dict[str, Any]]) -> list[str]:
    """The keys that have different values in the tables, or are missing from some, in order."""
    keys = dict.fromkeys(key for table in tables for key in table)
    return [key for key in keys if any(table.get(key) != tables[0].get(key) for table in tables)]
