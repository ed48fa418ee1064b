"""Descriptions of preset fields, for `rbp presets schema` and the dashboard's editors."""

from rbp_engine.preset import SHORT_NAMES, FieldInfo

CHANGES = {"result": "changes the result", "cost": "changes only time and memory", "place": "changes only the place"}


def short_name(info: FieldInfo) -> str:
    """The short name of a field in overrides; empty if it has none."""
    return next((short for short, key in SHORT_NAMES.items() if key == info.key), "")


def rule(info: FieldInfo) -> str:
    """The values and unit of a field, what it changes, and its short name, in one line."""
    kind = f"one of {', '.join(info.choices)}" if info.choices else f"{info.type} {info.constraints}".strip()
    unit, short = f"unit: {info.unit}" if info.unit else "", short_name(info)
    parts = (kind, unit, CHANGES[info.role], f"short: {short}" if short else "")
    return " · ".join(part for part in parts if part)
