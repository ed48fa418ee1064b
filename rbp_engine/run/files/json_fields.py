"""Values from untrusted JSON, checked against the types that a dataclass declares.

This is the door for text of a run: what comes through it is printable, on one line unless the type is `Lines`.
"""

import contextlib
import functools
from dataclasses import MISSING, fields
from math import isfinite
from types import NoneType, UnionType
from typing import Any, NewType, TypeAlias, Union, get_args, get_origin, get_type_hints

from rbp_engine.os_process import Process
from rbp_engine.printable import Lines, one_line, visible

# Integers below this fit an array of int64.
LARGEST = 2**63
# Seconds since the epoch that calendars can represent: until the year 5138.
LATEST_T = 1e11
DEEPEST = 50

# The JSON types of what a list or object holds, and what those hold in turn.
Held: TypeAlias = "tuple[frozenset[type], Held | None]"


def fields_of(kind: type[Any], value: Any, *, verbatim: bool = False) -> dict[str, Any]:
    """The fields of the dataclass `kind` that the object has, without any others.

    A number that is not finite, or an integer beyond 64 bits, becomes None, and text printable unless it is wanted
    `verbatim`, to be used and not shown. Raises ValueError if the value is not an object, or names the field that is
    missing or of another type, or whose list or object holds such; in a list of numbers, one may be null.
    """
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    found = {}
    for name, types, required, lines, held in _declared(kind):  # type: ignore[arg-type]  # a class can be hashed
        if name not in value:
            if required:
                raise ValueError(f"{name} is missing")
            continue
        item = value[name]
        if type(item) is float:
            item = item if isfinite(item) else None
        elif type(item) is int:
            item = item if -LARGEST < item < LARGEST else None
        if (types is not None and type(item) not in types) or (held is not None and not _holds(item, held)):
            raise ValueError(f"{name} is {_short(value[name])}")
        # Most texts are printable, and lists of runs read tens of thousands.
        kept = type(item) not in _HOLDING_TEXT or (type(item) is str and item.isprintable()) or verbatim
        found[name] = item if kept else printable(item, lines=lines)
    return found


def fitting_fields(kind: type[Any], value: dict[str, Any]) -> dict[str, Any]:
    """The fields of the dataclass `kind` in the object that have the declared type; numbers from 0 to LATEST_T only.

    Text becomes printable, and lists and objects that are nested too deep are left out.
    """
    found = {}
    for name, types, _, lines, held in _declared(kind):  # type: ignore[arg-type]  # a class can be hashed
        if name not in value or (types is not None and type(value[name]) not in types):
            continue
        if _is_no_odd_number(value[name]) and (held is None or _holds(value[name], held)):
            with contextlib.suppress(ValueError):
                found[name] = printable(value[name], lines=lines)
    return found


def process_in(value: Any) -> Process:
    """The process that an object names, as far as that fits."""
    return Process(**fitting_fields(Process, value)) if isinstance(value, dict) else Process()


def printable(value: Any, *, lines: bool = False, depth: int = DEEPEST) -> Any:
    """The value with printable text, on one line or with its `lines`. Raises ValueError if it is nested too deep."""
    if type(value) is str:
        return visible(value) if lines else one_line(value)
    if type(value) not in (list, dict):
        return value
    if not depth:
        raise ValueError(f"nested more than {DEEPEST} deep")
    if type(value) is list:
        return [
            printable(item, lines=lines, depth=depth - 1) if type(item) in _HOLDING_TEXT else item for item in value
        ]
    return {
        key if key.isprintable() else one_line(key): (
            printable(item, lines=lines, depth=depth - 1) if type(item) in _HOLDING_TEXT else item
        )
        for key, item in value.items()
    }


_HOLDING_TEXT = frozenset({str, list, dict})


def _is_no_odd_number(value: Any) -> bool:
    return type(value) not in (int, float) or 0 <= value <= LATEST_T


def _holds(value: Any, held: Held) -> bool:
    """Whether a list or object holds what it is declared to, and integers of 64 bits; of other values, True."""
    if type(value) not in (list, dict):
        return True
    types, deeper = held
    return all(
        type(item) in types
        and (type(item) is not int or -LARGEST < item < LARGEST)
        and (deeper is None or _holds(item, deeper))
        for item in (value.values() if type(value) is dict else value)
    )


@functools.cache
def _declared(kind: Any) -> tuple[tuple[str, frozenset[type] | None, bool, bool, "Held | None"], ...]:
    """For each field: its name, its JSON types (None: any), whether it is required, whether it may have lines, and what
    its list or object holds (None: anything)."""
    hints = get_type_hints(kind)
    return tuple(
        (
            field.name,
            _json_types(hints[field.name]),
            field.default is MISSING and field.default_factory is MISSING,
            Lines in _parts(hints[field.name]),
            _held(hints[field.name]),
        )
        for field in fields(kind)
    )


def _held(hint: Any) -> "Held | None":
    for part in _parts(hint):
        if get_origin(part) in (list, dict):
            inner = get_args(part)[-1]
            types = _json_types(inner)
            # A number that is not finite is written as null.
            return None if types is None else (types | {NoneType} if float in types else types, _held(inner))
    return None


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (UnionType, Union) else (hint,)


def _json_types(hint: Any) -> frozenset[type] | None:
    if hint is Any:
        return None
    types = {NoneType if part is None else _class(part) for part in _parts(hint)}
    return frozenset(types | {int} if float in types else types)


def _class(hint: Any) -> Any:
    while isinstance(hint, NewType):
        hint = hint.__supertype__
    return get_origin(hint) or hint


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
