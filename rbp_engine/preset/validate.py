"""Turn plain values into a checked preset, and report every problem in words, with the place where it was written."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from rbp_engine.preset.contradictions import contradictions
from rbp_engine.preset.fields import FieldInfo, fields
from rbp_engine.preset.layers import APART, Layers
from rbp_engine.preset.overrides import key_called
from rbp_engine.settings.documents import KeyPath, dotted
from rbp_engine.settings.problems import PresetError, Problem
from rbp_engine.settings.spelling import describe_value, did_you_mean
from rbp_engine.vocabulary import LIBRARIES

if TYPE_CHECKING:
    from pydantic import BaseModel

    from rbp_engine.preset.schema import Preset

    Model = TypeVar("Model", bound=BaseModel)

# More are a wall of text, in which nobody finds what was given.
_MOST_WORDS = 20
LIBRARY_NAMES = ", ".join(f"{library}:name" for library in LIBRARIES)
# Names that are in no list, by the kind of error.
_ELSEWHERE = {
    "unknown_network": f", {LIBRARY_NAMES}",
    "unknown_data_set": ", folder:name (rbp data add folder:name DIR names a folder of images)",
}
_EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def explain(error: Mapping[str, Any], known: Sequence[FieldInfo]) -> str:
    """Turn one entry of `ValidationError.errors()` into a sentence: what was expected and given, and the nearest name.

    `known` are the fields of a preset, for the nearest spelling.
    """
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key.{_nearest_key(error['loc'], known)}"
    if kind in _EXPECTED:
        several = _for_several(given) if kind in ("int_type", "float_type", "bool_type") else ""
        return f"expected {_EXPECTED[kind]}, got {describe_value(given)}" + (f".{several}" if several else "")
    if kind == "missing":
        return f"{error['loc'][-1]} is missing"
    if kind in ("too_short", "too_long"):
        expected = f"at most {context['max_length']}" if kind == "too_long" else "at least one"
        return f"expected {expected}, got {context['actual_length'] or 'none'}"
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"must be {words} {context[bound]}, got {describe_value(given)}"
    if kind == "literal_error" and isinstance(error["loc"][-1], int):  # an element of an array
        return f"expected {context['expected']}, got {describe_value(given)}"
    if kind in ("literal_error", "unknown_choice", *_ELSEWHERE):
        return _unknown_choice(kind, error["loc"], given, known)
    if kind == "argument":
        return str(error["msg"])
    message = str(context["error"]) if "error" in context else str(error["msg"])
    return f"{message}, got {describe_value(given)}"


def _unknown_choice(kind: str, location: tuple[str | int, ...], given: object, known: Sequence[FieldInfo]) -> str:
    words = next((info.choices for info in known if info.key == ".".join(map(str, location))), ())
    guess = _for_several(given) or (did_you_mean(given, words) if isinstance(given, str) else "")
    if not isinstance(given, str) and str(given) in words:
        guess = f' Write it in quotes: "{given}"'
    if kind == "unknown_network" and str(given).rstrip(":") in LIBRARIES:
        return f"the name of a network is missing, as in {str(given).rstrip(':')}:resnet18"
    if len(words) > _MOST_WORDS:
        words = (*words[: _MOST_WORDS // 2], "… (rbp presets schema has all)")
    one_of = f"one of {', '.join(words)}" if len(words) > 1 else f"{', '.join(words)}, the only choice"
    if kind != "literal_error":
        one_of = f"{one_of.removesuffix(', the only choice')}{_ELSEWHERE.get(kind, '')}, or your own as file.py:name"
    return f"expected {one_of}, got {describe_value(given)}" + (f".{guess}" if guess else "")


def _for_several(given: object) -> str:
    """What takes several values, where some were given in place of one."""
    return " rbp sweep takes several values, --seeds several seeds" if isinstance(given, str) and "," in given else ""


def _nearest_key(location: tuple[str | int, ...], known: Sequence[FieldInfo]) -> str:
    word, above = str(location[-1]), dotted(location[:-1])
    table = re.sub(r"\[[0-9]+\]", "[]", f"{above}.") if above else ""
    beside = [info.key.removeprefix(table) for info in known if info.key.startswith(table)]
    inside = {key.partition("[")[0].partition(".")[0] for key in beside} | (set() if table else APART)
    if key := key_called(word):
        return f" Did you mean '{key.removeprefix(table)}'?"
    return did_you_mean(word, inside) or f" Known here: {', '.join(sorted(inside))}"


def read_model(
    model: "type[Model]", values: Any, known: Callable[[], Sequence[FieldInfo]], path: KeyPath = ()
) -> "tuple[Model | None, list[tuple[KeyPath, str]]]":
    """The model of these values, which are at a path of keys; or None, and what is wrong, and where.

    `known` are its fields.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(values), []
    except ValidationError as error:
        wrong = [((*path, *one["loc"]), one) for one in error.errors()]
        return None, [(place, explain({**one, "loc": place}, known())) for place, one in wrong]


def validate(layers: Layers, source: str, earlier: Sequence[Problem] = ()) -> "Preset":
    """Check the values of a preset.

    `source` is the file as messages show it; `earlier` are problems already known. Raises `PresetError`
    with all problems, in the order of the file.
    """
    from rbp_engine.preset.schema import Preset

    preset, found = read_model(Preset, layers.values, fields)
    if preset is not None:
        found = contradictions(preset)
    placed = (place(layers, source, *item) for item in found)
    problems = [*earlier, *sorted(placed, key=lambda one: (one.source or "", one.line or 0))]
    if problems or preset is None:
        raise PresetError(source, problems)
    return preset


def problems_of_value(key: str, value: Any) -> list[str]:
    """What is wrong with a value for a field, or for an entry of one that is a table, whatever the others are."""
    from rbp_engine.preset.schema import Preset

    section, name, *entry = key.split(".", 2)
    _, found = read_model(Preset, {section: {name: {entry[0]: value} if entry else value}}, fields)
    return [message for _, message in found]


def place(layers: Layers, source: str, path: KeyPath, message: str) -> Problem:
    """The problem with what is at a path of keys, where that was written; `source` is the file as messages show it."""
    origin = layers.origin(path)
    if origin is None:
        return Problem(dotted(path), message)
    if origin.word is not None:
        return Problem(dotted(path), message, source=origin.word)
    return Problem(dotted(path), message, origin.line, None if origin.file == source else origin.file)
