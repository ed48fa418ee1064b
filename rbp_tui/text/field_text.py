"""Descriptions of preset fields, for `rbp presets schema` and the dashboard's editors."""

from rbp_engine.preset import SHORT_NAMES, FieldInfo


def short_name(info: FieldInfo) -> str:
    """The short name of a field in overrides; empty if it has none."""
    return next((short for short, key in SHORT_NAMES.items() if key == info.key), "")


def rule(info: FieldInfo) -> str:
    """The values, unit, role and short name of a field, in one line."""
    kind = f"one of {', '.join(info.choices)}" if info.choices else f"{info.type} {info.constraints}".strip()
    notes = {"unit": info.unit, "role": info.role, "short": short_name(info)}
    return " · ".join([kind, *(f"{name}: {note}" for name, note in notes.items() if note)])
