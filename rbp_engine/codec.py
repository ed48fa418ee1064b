"""Records in JSON that anybody may have written: one reader for all of them, by the types that a record declares.

A record is a dataclass. What is read fits its types, or nothing is read. Text is printable, on one line unless its type
is `Lines`; numbers are finite and within the limits that their types name; unknown fields are passed over.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NewType, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from rbp_engine.printable import Lines, one_line, visible

#: Integers below this fit an array of int64.
LARGEST = 2**63
#: Seconds since the epoch that calendars can represent: until the year 5138.
LATEST_T = 1e11
#: Values of no declared type may be nested so deep: code that walks through them is recursive.
DEEPEST = 32

Integer: TypeAlias = Annotated[int, msgspec.Meta(ge=1 - LARGEST, le=LARGEST - 1)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=LARGEST - 1)]
Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=LARGEST - 1)]
#: Seconds since the epoch, or a span of seconds.
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=LATEST_T)]
#: An accuracy or another part of one.
Fraction: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
#: A number of which many can be added.
Amount: TypeAlias = Annotated[float, msgspec.Meta(ge=-1e30, le=1e30)]

T = TypeVar("T")


def decode(kind: type[T], content: bytes) -> T:
    """The record, or another value of the type `kind`, in a JSON text.

    Raises ValueError with what does not fit, and where.
    """
    reader, cleaner, holds_anything = _reader(kind)  # type: ignore[arg-type]  # a type can be hashed
    try:
        value = reader.decode(content)
    except msgspec.MsgspecError as error:
        raise ValueError(_sentence(error)) from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    # In a text without escapes and controls, every string is printable, and on one line.
    plain = content.isascii() and b"\\" not in content and b"\x7f" not in content
    return value if cleaner is None or (plain and not holds_anything) else cleaner(value)  # type: ignore[no-any-return]


def convert(kind: type[T], value: Any) -> T:
    """The record in a JSON value that has been parsed. Raises ValueError as `decode` does."""
    try:
        return decode(kind, msgspec.json.encode(value))
    except (RecursionError, OverflowError, TypeError) as error:
        raise ValueError(f"it is no record: {error}") from None


def convert_verbatim(kind: type[T], value: Any) -> T:
    """The same with its text as it stands, also what UTF-8 cannot encode: to be used, and not shown."""
    try:
        return msgspec.convert(value, kind, dec_hook=_path)
    except msgspec.MsgspecError as error:
        raise ValueError(_sentence(error)) from None


def printable(value: Any, depth: int = DEEPEST) -> Any:
    """A value of no declared type with its text on one line. Raises ValueError if it is nested too deep, or has an
    integer beyond 64 bits."""
    if type(value) is str:
        return one_line(value)
    if type(value) is int and not -LARGEST < value < LARGEST:
        raise ValueError("an integer has more than 64 bits")
    if type(value) in (list, dict) and not depth:
        raise ValueError(f"nested more than {DEEPEST} deep")
    if type(value) is list:
        return [printable(item, depth - 1) for item in value]
    if type(value) is dict:
        return {one_line(key): printable(item, depth - 1) for key, item in value.items()}
    return value


@functools.cache
def _reader(kind: Any) -> "tuple[msgspec.json.Decoder[Any], Callable[[Any], Any] | None, bool]":
    """What parses a kind, what makes its text printable (None: it has none), and whether it may hold anything."""
    return msgspec.json.Decoder(kind, dec_hook=_path), _cleaner(kind), _holds_anything(kind)


def _path(kind: type[Any], value: Any) -> Any:
    if kind is not Path:
        raise NotImplementedError(f"records have no {kind}")
    if not isinstance(value, str):
        raise ValueError("expected a path")
    return Path(value)


def _sentence(error: Exception) -> str:
    """What msgspec found, without its marks: `attempt: expected int, got str`."""
    what, _, where = str(error).replace("`", "").partition(" - at ")
    place = where.removeprefix("$").removeprefix(".")
    what = what[:1].lower() + what[1:] if what.startswith(("Expected", "Object", "Invalid", "Input")) else what
    return str(one_line(f"{place}: {what}" if place else what, 200))


def _cleaner(hint: Any) -> Callable[[Any], Any] | None:
    """What makes the text in values of a type printable; None if there can be none."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _cleaner(inner[0])
    if hint is Any:
        return printable
    if hint is Lines:
        return visible
    if isinstance(hint, NewType):
        return one_line if hint.__supertype__ is Lines else _cleaner(hint.__supertype__)
    if hint is str:
        return one_line
    if dataclasses.is_dataclass(hint):
        return _cleaner_of_fields(hint)
    cleaners = [clean for one in inner if (clean := _cleaner(one)) is not None]
    if not cleaners:
        return None
    clean = cleaners[-1]  # a union has one member with text: `str | int`, `Record | None`
    if origin is dict:
        with_text = len(cleaners) == 2
        return lambda found: {one_line(key): clean(item) if with_text else item for key, item in found.items()}
    if origin in (list, tuple):
        return lambda found: origin(map(clean, found))
    return lambda found: found if found is None or isinstance(found, (int, float)) else clean(found)


def _cleaner_of_fields(kind: Any) -> Callable[[Any], Any] | None:
    hints = get_type_hints(kind, include_extras=True)
    cleaners = {field.name: _cleaner(hints[field.name]) for field in dataclasses.fields(kind)}
    with_text = {name: clean for name, clean in cleaners.items() if clean is not None}
    if not with_text:
        return None

    def clean(record: Any) -> Any:
        cleaned = {name: one(getattr(record, name)) for name, one in with_text.items()}
        changed = {name: value for name, value in cleaned.items() if value != getattr(record, name)}
        return dataclasses.replace(record, **changed) if changed else record

    return clean


def _holds_anything(hint: Any) -> bool:
    if dataclasses.is_dataclass(hint):
        return any(map(_holds_anything, get_type_hints(hint, include_extras=True).values()))
    return hint is Any or any(map(_holds_anything, get_args(hint)))
