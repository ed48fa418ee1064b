"""Write a preset, or a part of one, as TOML."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset


def resolved_toml(preset: "Preset") -> str:
    """The complete TOML of a preset, with every field, and parents and overrides resolved.

    `read_resolved` returns an equal preset.
    """
    return as_toml(preset.model_dump())


def as_toml(values: Mapping[str, Any]) -> str:
    """Fields, and sections as tables, in their order; None is left out."""
    import tomlkit

    lines, sections = [], []
    for key, value in values.items():
        if isinstance(value, dict):
            name = tomlkit.key(key).as_string()
            sections += ["", f"[{name}]", *(_line(name, inner) for name, inner in value.items())]
        elif value is not None:
            lines.append(_line(key, value))
    return "\n".join([*lines, *sections, ""])


def _line(key: str, value: Any) -> str:
    import tomlkit

    return f"{tomlkit.key(key).as_string()} = {toml_item(value).as_string()}"


def toml_item(value: Any) -> Any:
    """A value as a tomlkit item: tables inline, arrays of tables with one line per table."""
    import tomlkit

    if isinstance(value, dict):
        inline = tomlkit.inline_table()
        inline.update(value)
        return inline
    if isinstance(value, list):
        array = tomlkit.array()
        array.multiline(any(isinstance(element, dict) for element in value))
        for element in value:
            array.append(toml_item(element))
        return array
    return tomlkit.item(value)
