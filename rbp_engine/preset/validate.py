"""Turn plain values into a checked preset, and report every problem with the place where it was written."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbp_engine.preset.contradictions import contradictions
from rbp_engine.preset.fields import fields
from rbp_engine.preset.layers import Layers
from rbp_engine.preset.messages import explain
from rbp_engine.settings.lines import KeyPath, dotted
from rbp_engine.settings.problems import PresetError, Problem

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset


def validate(layers: Layers, source: str, earlier: Sequence[Problem] = ()) -> "Preset":
    """Check the values of a preset.

    `source` is the file as messages show it; `earlier` are problems already known. Raises `PresetError`
    with all problems, in the order of the file.
    """
    from pydantic import ValidationError

    from rbp_engine.preset.schema import Preset

    try:
        preset = Preset.model_validate(layers.values)
        found = contradictions(preset)
    except ValidationError as error:
        known = fields()
        found = [(item["loc"], explain(item, known)) for item in error.errors()]
    placed = (place(layers, source, *item) for item in found)
    problems = [*earlier, *sorted(placed, key=lambda one: (one.source or "", one.line or 0))]
    if problems:
        raise PresetError(source, problems)
    return preset


def problems_of_value(key: str, value: Any) -> list[str]:
    """What is wrong with a value for a field, or for an entry of one that is a table, whatever the others are."""
    from pydantic import ValidationError

    from rbp_engine.preset.schema import Preset

    section, name, *entry = key.split(".", 2)
    try:
        Preset.model_validate({section: {name: {entry[0]: value} if entry else value}})
    except ValidationError as error:
        known = fields()
        return [explain(item, known) for item in error.errors()]
    return []


def place(layers: Layers, source: str, path: KeyPath, message: str) -> Problem:
    """The problem with what is at a path of keys, where that was written; `source` is the file as messages show it."""
    origin = layers.origin(path)
    if origin is None:
        return Problem(dotted(path), message)
    if origin.word is not None:
        return Problem(dotted(path), message, source=origin.word)
    return Problem(dotted(path), message, origin.line, None if origin.file == source else origin.file)
