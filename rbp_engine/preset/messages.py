"""Translate pydantic's errors for the author of a preset."""

from collections.abc import Mapping, Sequence
from typing import Any

from rbp_engine.preset.fields import FieldInfo
from rbp_engine.preset.layers import APART
from rbp_engine.settings.spelling import did_you_mean
from rbp_engine.settings.values import describe_value
from rbp_engine.vocabulary import LIBRARIES

# More are a wall of text, in which nobody finds what was given.
_MOST_WORDS = 20
LIBRARY_NAMES = ", ".join(f"{library}:name" for library in LIBRARIES)
# Names that are in no list, by the kind of error.
_ELSEWHERE = {"unknown_network": f", {LIBRARY_NAMES}", "unknown_data_set": ", folder:name"}
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
        return f"expected {_EXPECTED[kind]}, got {describe_value(given)}"
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
    guess = did_you_mean(given, words) if isinstance(given, str) else ""
    if kind == "unknown_network" and str(given).rstrip(":") in LIBRARIES:
        return f"the name of a network is missing, as in {str(given).rstrip(':')}:resnet18"
    if len(words) > _MOST_WORDS:
        words = (*words[: _MOST_WORDS // 2], "… (rbp presets schema has all)")
    one_of = f"one of {', '.join(words)}" if len(words) > 1 else f"{', '.join(words)}, the only choice"
    if kind != "literal_error":
        one_of = f"{one_of.removesuffix(', the only choice')}{_ELSEWHERE.get(kind, '')}, or your own as file.py:name"
    return f"expected {one_of}, got {describe_value(given)}" + (f".{guess}" if guess else "")


def _nearest_key(location: tuple[str | int, ...], known: Sequence[FieldInfo]) -> str:
    word, table = str(location[-1]), _pattern(location[:-1])
    beside = [info.key.removeprefix(table) for info in known if info.key.startswith(table)]
    inside = {key.partition("[")[0].partition(".")[0] for key in beside} | (set() if table else APART)
    elsewhere = [info.key for info in known if info.key.rpartition(".")[2] == word]
    if len(elsewhere) == 1:
        return f" Did you mean '{elsewhere[0]}'?"
    return did_you_mean(word, inside) or f" Known here: {', '.join(sorted(inside))}"


def _pattern(location: tuple[str | int, ...]) -> str:
    """The common prefix of the keys in a table, in the format of `FieldInfo.key`: `paper.figures[].`."""
    text = ""
    for part in location:
        text += "[]" if isinstance(part, int) else f".{part}" if text else part
    return f"{text}." if text else ""
