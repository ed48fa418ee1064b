"""The settings of a preset as one flat table, and the keys in which several tables differ."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbp_engine.preset import fields

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

SEED = "run.seed"


def settings(preset: "Preset", role: str = "result") -> dict[str, Any]:
    """The fields of one role by dotted key, without the seed; a field that is a table stays one value."""
    values = preset.model_dump()
    return {key: _at(values, key) for key in _keys(role)}


def differing(tables: Sequence[dict[str, Any]]) -> list[str]:
    """The keys that have different values in the tables, or are missing from some, in order."""
    keys = dict.fromkeys(key for table in tables for key in table)
    return [key for key in keys if any(table.get(key) != tables[0].get(key) for table in tables)]


@functools.cache
def _keys(role: str) -> tuple[str, ...]:
    return tuple(info.key for info in fields() if info.role == role and info.key != SEED and "[]" not in info.key)


def _at(values: dict[str, Any], key: str) -> Any:
    found: Any = values
    for part in key.split("."):
        found = None if found is None else found[part]
    return found
