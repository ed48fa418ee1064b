"""What the sections of a preset are made of: fields with their notes, types of values, bounds of numbers."""

import json
import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from rbp_engine.settings.spelling import describe_value
from rbp_engine.vocabulary import FOLDER_SET, LIBRARY_NETWORK, OWN_CODE

Role = Literal["result", "cost", "place"]

MOST_STEPS = 10_000
MOST_IMAGES = 2**20
MOST_PIXELS = 4096
MOST_EPOCHS = 1_000_000
MOST_WORKERS = 256


def field(
    default: Any,
    role: Role,
    unit: str,
    text: str,
    choices: Iterable[str] = (),
    **constraints: Any,
) -> Any:
    """A field with its default, role, unit ("" for none), one-sentence description and bounds.

    `choices` are the names from `rbp_engine/vocabulary.py` that a string may be; other choices are Literal types.
    """
    notes: dict[str, Any] = {"role": role, "unit": unit, "choices": list(choices)}
    return Field(default, description=text, json_schema_extra=notes, **constraints)


_UNKNOWN: Final = {LIBRARY_NETWORK: "unknown_network", FOLDER_SET: "unknown_data_set"}


def known(choices: Collection[str], also: re.Pattern[str] | None = None, *, own: bool = True) -> Any:
    """A validator for a string that must be one of the choices, or with `own` name a user's code like `nets.py:MyNet`.

    `also` are further names: those of libraries' networks, or of folders of images.
    """
    unknown = _UNKNOWN[also] if also is not None else "unknown_choice" if own else "literal_error"

    def check(value: str) -> str:
        elsewhere = (also is not None and also.fullmatch(value)) or (own and OWN_CODE.fullmatch(value))
        if value not in choices and not elsewhere:
            raise PydanticCustomError(unknown, "unknown")
        return value

    return AfterValidator(check)


def once_each(value: list[str]) -> list[str]:
    if len({*value}) < len(value):
        raise PydanticCustomError("argument", "names something twice")
    return value


def own_function(value: str) -> str:
    if value and OWN_CODE.fullmatch(value) is None:
        message = 'expected a function of your own as "mine.py:measure", or "" for none'
        raise PydanticCustomError("own_function", "{message}", {"message": message})
    return value


def _free_text(value: str) -> str:
    # Words of a command line that are not UTF-8 arrive as lone surrogates, which cannot be written to a file.
    if any(unicodedata.category(character) == "Cs" for character in value):
        raise ValueError("must be text that UTF-8 can hold")
    return value


def _plain_arguments(value: dict[str, Any]) -> dict[str, Any]:
    """Check that arguments for the user's code can be JSON, because they are part of the experiment's hash."""
    for key, argument in value.items():
        try:
            json.dumps({key: argument}, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError):
            given = describe_value(argument)
            message = f"'{key}' takes text, true or false, finite numbers, arrays and tables of them, got {given}"
            raise PydanticCustomError("argument", "{message}", {"message": message}) from None
    return value


def _label(value: str) -> str:
    if value in {".", ".."} or any(character in "/\\" or not character.isprintable() for character in value):
        raise ValueError("must have no path separators, no control characters, and not be '.' or '..'")
    return value


FreeText = Annotated[str, AfterValidator(_free_text)]
Arguments = Annotated[dict[str, Any], AfterValidator(_plain_arguments)]
Label = Annotated[str, AfterValidator(_label)]


class Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)
