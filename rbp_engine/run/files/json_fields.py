"""Values from untrusted JSON, checked against the types that a dataclass declares."""

import functools
from dataclasses import MISSING, fields
from math import isfinite
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

# Integers below this fit an array of int64.
LARGEST = 2**63
# Seconds since the epoch that calendars can represent: until the year 5138.
LATEST_T = 1e11


def fields_of(kind: type[Any], value: Any) -> dict[str, Any]:
    """The fields of the dataclass `kind` that the object has, without any others.

    A number that is not finite, or an integer beyond 64 bits, becomes None. Raises ValueError if the value is not an
    object, or names the field that is missing or of another type; the contents of lists and objects are not checked.
    """
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    found = {}
    for name, types, required in _declared(kind):  # type: ignore[arg-type]  # a class can be hashed
        if name not in value:
            if required:
                raise ValueError(f"{name} is missing")
            continue
        item = value[name]
        if type(item) is float:
            item = item if isfinite(item) else None
        elif type(item) is int:
            item = item if -LARGEST < item < LARGEST else None
        if types is not None and type(item) not in types:
            raise ValueError(f"{name} is {_short(value[name])}")
        found[name] = item
    return found


def fitting_fields(kind: type[Any], value: dict[str, Any]) -> dict[str, Any]:
    """The fields of the dataclass `kind` in the object that have the declared type; numbers from 0 to LATEST_T only."""
    return {
        name: value[name]
        for name, types, _ in _declared(kind)  # type: ignore[arg-type]  # a class can be hashed
        if name in value and (types is None or type(value[name]) in types) and _is_no_odd_number(value[name])
    }


def _is_no_odd_number(value: Any) -> bool:
    return type(value) not in (int, float) or 0 <= value <= LATEST_T


@functools.cache
def _declared(kind: Any) -> tuple[tuple[str, frozenset[type] | None, bool], ...]:
    """For each field: its name, its JSON types (None: any), and whether it is required."""
    hints = get_type_hints(kind)
    return tuple(
        (field.name, _json_types(hints[field.name]), field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
    )


def _json_types(hint: Any) -> frozenset[type] | None:
    if hint is Any:
        return None
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    types = {NoneType if part is None else get_origin(part) or part for part in parts}
    return frozenset(types | {int} if float in types else types)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
