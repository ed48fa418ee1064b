"""The fields of a preset as plain data, for `rbp presets schema`, editors and error messages."""

import functools
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo as ModelField

    from rbp_engine.preset.schema import Preset


@dataclass(frozen=True)
class FieldInfo:
    """One field of a preset.

    `key` is dotted (`optim.lr`; `paper.figures[].top1` for a field of each figure), `type` is in words, `unit` is ""
    for none, `role` is "result", "cost" or "place", `constraints` is like ">= 0, < 1", and `choices` is empty unless
    the field is a choice among words.
    """

    key: str
    type: str
    default: Any
    unit: str
    role: str
    text: str
    constraints: str
    choices: tuple[str, ...]

    @property
    def takes_words(self) -> bool:
        """Whether the value is a plain string, which an override takes literally."""
        return self.type in {"string", "choice"}

    @property
    def takes_several_words(self) -> bool:
        """Whether the value is a list of strings, which an override takes as words with commas between."""
        return self.type in {"array of strings", "array of choices"}


#: What a preset says about itself is not a setting.
ABOUT = frozenset({"title", "description", "paper"})


@functools.cache
def fields() -> tuple[FieldInfo, ...]:
    """Every field of a preset, in the order of preset files."""
    from rbp_engine.preset.schema import Preset

    return tuple(_walk(Preset, ""))


@functools.cache
def by_key() -> dict[str, FieldInfo]:
    """Those of which a preset has one by key, and not one in each figure of the paper."""
    return {info.key: info for info in fields() if "[]" not in info.key}


@functools.cache
def settings() -> dict[str, FieldInfo]:
    """The fields that are settings of a run, by key."""
    return {key: info for key, info in by_key().items() if key.partition(".")[0] not in ABOUT}


def field_of(key: str) -> FieldInfo | None:
    """The field of a key, or the table that it is an entry of; None if presets have neither."""
    above, _, entry = key.rpartition(".")
    table = by_key().get(above)
    return by_key().get(key) or (table if table and entry and table.type.startswith("table") else None)


def is_whole(key: str) -> bool:
    """Whether the numbers that a field takes are whole ones."""
    return key in by_key() and "number" not in by_key()[key].type


def role_of(key: str) -> str:
    """The role of a field, or of the table that it is an entry of; empty if presets have none of that key."""
    info = field_of(key)
    return info.role if info else ""


def values_of(preset: "Preset") -> dict[str, Any]:
    """The value of each setting, by key."""
    sections = preset.model_dump(exclude=set(ABOUT))
    return {f"{section}.{name}": value for section, fields in sections.items() for name, value in fields.items()}


def fields_of(model: "type[BaseModel]", prefix: str) -> list[FieldInfo]:
    """The fields of a table, whose keys begin with the prefix."""
    return list(_walk(model, prefix))


def _walk(model: "type[BaseModel]", prefix: str) -> typing.Iterator[FieldInfo]:
    for name, model_field in model.model_fields.items():
        key = f"{prefix}{model_field.alias or name}"
        section = _section_of(model_field.annotation)
        if section is None:
            yield _describe(key, model_field)
        elif typing.get_origin(model_field.annotation) is list:
            yield _describe(key, model_field)
            yield from _walk(section, f"{key}[].")
        else:
            yield from _walk(section, f"{key}.")


def _section_of(annotation: Any) -> "type[BaseModel] | None":
    from pydantic import BaseModel

    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _describe(key: str, model_field: "ModelField") -> FieldInfo:
    extra = model_field.json_schema_extra
    notes: dict[str, Any] = dict(extra) if isinstance(extra, dict) else {}
    bounds = [
        f"{sign} {getattr(bound, name)}"
        for bound in model_field.metadata
        for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
        if getattr(bound, name, None) is not None
    ]
    annotation = model_field.annotation
    literal = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
    named = tuple(notes.get("choices", ()))
    return FieldInfo(
        key=key,
        type="choice" if named else _in_words(annotation),
        default=model_field.get_default(call_default_factory=True),
        unit=str(notes.get("unit", "")),
        role=str(notes.get("role", "")),
        text=model_field.description or "",
        constraints=", ".join(bounds),
        choices=named or literal,
    )


def _in_words(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _in_words(arguments[0])
    if origin is typing.Literal:
        return "choice"
    if origin is list:
        return "array of tables" if _section_of(arguments[0]) else f"array of {_in_words(arguments[0])}s"
    if origin is dict:
        return "table" if arguments[1] is Any else f"table of {_in_words(arguments[1])}s"
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(_in_words(argument) for argument in arguments)
    return {bool: "true or false", int: "integer", float: "number", str: "string"}[annotation]
