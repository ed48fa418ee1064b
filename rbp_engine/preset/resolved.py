"""Write a preset as complete TOML, with every field."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset


def resolved_toml(preset: "Preset") -> str:
    """The complete TOML of a preset, with every field, and parents and overrides resolved.

    `read_resolved` returns an equal preset.
    """
    import tomlkit

    document = tomlkit.document()
    sections: dict[str, Any] = {}
    for key, value in preset.model_dump().items():
        if isinstance(value, dict):
            sections[key] = value
        elif value is not None:
            document.add(key, tomlkit.item(value))
    for name, values in sections.items():
        table = tomlkit.table()
        for key, value in values.items():
            table.add(key, toml_item(value))
        document.add(tomlkit.nl())
        document.add(name, table)
    return tomlkit.dumps(document)


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
