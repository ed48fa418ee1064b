"""Settings given as words: `T=6`, `optim.lr=0.05`."""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rbp_engine.preset.fields import FieldInfo, by_key, field_of
from rbp_engine.preset.resolved import toml_item
from rbp_engine.settings.problems import Problem
from rbp_engine.settings.spelling import nearest
from rbp_engine.untrusted_files import parse_toml

#: Short names of common keys in overrides, queries and sweeps.
SHORT_NAMES: Final[dict[str, str]] = {
    "T": "method.timesteps",
    "method": "method.name",
    "lr": "optim.lr",
    "batch": "data.batch_size",
    "epochs": "train.epochs",
    "seed": "run.seed",
    "arch": "model.name",
    "data": "data.name",
}
# In lower case, without underscores.
_OF_OTHERS: Final[dict[str, str]] = {
    "batchsize": "data.batch_size",
    "learningrate": "optim.lr",
    "timesteps": "method.timesteps",
}


@dataclass(frozen=True)
class Override:
    """One setting given as a word: the full dotted key, its value, and the original word."""

    key: str
    value: Any
    word: str


def parse_overrides(words: Sequence[str]) -> tuple[list[Override], list[Problem]]:
    """Parse words `key=value`; of two for the same key the later one wins when they are applied.

    The value is TOML if it parses and the field is not a plain string, else the text itself: `T=6` is a number,
    `method=bptt` needs no quotes, and of a list of strings `run.tags=a,b` needs neither quotes nor brackets. Returns
    the overrides and a problem for each invalid word.
    """
    parsed = [_parse(word) for word in words]
    problems = [one for one in parsed if isinstance(one, Problem)]
    return [one for one in parsed if isinstance(one, Override)], problems


def short_name(key: str) -> str:
    """The short name of a field, or its key if it has none."""
    return next((short for short, full in SHORT_NAMES.items() if full == key), key)


def setting_word(key: str, value: Any) -> str:
    """The word that sets a field to a value, with the field's short name if it has one: `T=6`.

    `parse_overrides` reads it back.
    """
    literal = key in by_key() and by_key()[key].takes_words
    return f"{short_name(key)}={value if literal else toml_item(value).as_string()}"


def _parse(word: str) -> Override | Problem:
    written, equals, text = word.partition("=")
    written, text = written.strip(), text.strip()
    if not equals:
        return Problem("", f"expected key=value, as T=6 or optim.lr=0.05, got '{word}'", source=word)
    key = SHORT_NAMES.get(written, written)
    info = field_of(key)
    if info is None:
        return Problem(written, f"unknown key.{_suggestion(written)}", source=word)
    return Override(key, _value(text, info) if info.key == key else _toml_value(text), word)


def _value(text: str, info: FieldInfo) -> Any:
    if info.takes_words:
        return text
    value = _toml_value(text)
    if info.takes_several_words and not isinstance(value, list):
        return [part.strip() for part in text.split(",")]
    return value


def _toml_value(text: str) -> Any:
    try:
        parsed = parse_toml(f"value = {text}")
    except ValueError:
        return text
    # A line break in the text must not add a second key.
    return parsed["value"] if parsed.keys() == {"value"} else text


def _suggestion(written: str) -> str:
    if inside := [key for key in by_key() if key.startswith(f"{written}.")]:
        return f" '{written}' is a section; name one of its fields: {', '.join(inside)}"
    meant = nearest(written, _names())
    return "" if meant is None else f" Did you mean '{_names()[meant]}'?"


def key_of_others(name: str) -> str | None:
    """The key of the setting that other programs call so; None for any other name."""
    return _OF_OTHERS.get(name.lower().replace("_", ""))


def key_called(name: str) -> str | None:
    """The key of the setting that somebody calls so, as its last part if only one has that; None if there is none."""
    return SHORT_NAMES.get(name) or _names().get(name) or key_of_others(name)


@functools.cache
def _names() -> dict[str, str]:
    """What to write for settings by their names, here and in other programs."""
    last = {key: key.rpartition(".")[2] for key in by_key()}
    count = Counter(last.values())
    return (
        _OF_OTHERS
        | {name: name for name in SHORT_NAMES}
        | {name: key for key, name in last.items() if count[name] == 1}
        | {key: key for key in last}
    )
