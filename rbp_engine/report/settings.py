"""The settings of a preset as one flat table, and the keys in which several tables differ."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbp_engine.preset.fields import settings as all_settings
from rbp_engine.preset.fields import values_of

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

SEED = "run.seed"


def settings(preset: "Preset", role: str = "result") -> dict[str, Any]:
    """The fields of one role by dotted key, without the seed; a field that is a table stays one value."""
    values = values_of(preset)
    return {key: values[key] for key, info in all_settings().items() if info.role == role and key != SEED}


def differing(tables: Sequence[dict[str, Any]]) -> list[str]:
    """The keys that have different values in the tables, or are missing from some, in order."""
    keys = dict.fromkeys(key for table in tables for key in table)
    return [key for key in keys if any(table.get(key) != tables[0].get(key) for table in tables)]
