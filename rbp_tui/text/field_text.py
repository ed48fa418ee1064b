"""Fields of presets in words, for `rbp presets schema` and wherever one is typed in the dashboard."""

from rbp_engine.preset import SHORT_NAMES, FieldInfo


def short_name(info: FieldInfo) -> str:
    """The short name of a field in overrides; empty if it has none."""
    return next((short for short, key in SHORT_NAMES.items() if key == info.key), "")


def rule(info: FieldInfo) -> str:
    """What a field takes and what it is for, in a line."""
    kind = f"one of {', '.join(info.choices)}" if info.choices else f"{info.type} {info.constraints}".strip()
    notes = {"unit": info.unit, "role": info.role, "short": short_name(info)}
    return " · ".join([kind, *(f"{name}: {note}" for name, note in notes.items() if note)])
