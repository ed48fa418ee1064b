"""The settings of a run that another program trains, given as a dictionary: any keys, any values.

Keys that presets have, as `lr` or `{"optim": {"lr": …}}`, keep their names, so that lists, queries and comparisons of
runs find them where they find those of presets. The others stand in the table `[settings]`, under their dotted names.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rbp_engine.preset import SHORT_NAMES, fields
from rbp_engine.preset.resolved import as_toml
from rbp_engine.run.errors import RunError
from rbp_engine.run.tracking.numbers import shown
from rbp_engine.untrusted_files import parse_toml

OWN = "settings"
#: What others call settings that presets have.
_ALSO = {"batch_size": "data.batch_size", "learning_rate": "optim.lr", "timesteps": "method.timesteps"}
SEED = "run.seed"
HEAD = "# What another program was given to train with. This is no preset of rbp.\n"
_LONGEST_TEXT = 2000
_MOST = 500  # of which each takes a millisecond to write
_DEEPEST = 16


@dataclass(frozen=True)
class GivenSettings:
    """Settings by dotted key, as `optim.lr` or `settings.dropout`."""

    values: dict[str, Any]

    def sections(self) -> dict[str, dict[str, Any]]:
        """The settings as presets have them, in sections."""
        sections: dict[str, dict[str, Any]] = {}
        for key, value in self.values.items():
            section, _, name = key.partition(".")
            sections.setdefault(section, {})[name] = value
        return sections

    def toml(self) -> str:
        """The contents of `preset.toml`. Raises RunError if they are more than any reader takes."""
        text = HEAD + as_toml(self.sections()).encode(errors="backslashreplace").decode()
        try:
            parse_toml(text)
        except ValueError as error:
            raise RunError(f"these settings cannot be kept: {error}") from error
        return text

    def experiment(self, program: str) -> str:
        """The SHA-256 (hexadecimal) of what the program trains, whatever the seed; never that of a preset."""
        chosen = {key: value for key, value in self.values.items() if key != SEED}
        text = f"trained by {program}: {json.dumps(chosen, sort_keys=True, default=str)}"
        return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()

    def text(self, key: str) -> str:
        """A setting that is text; empty if it is not given, or is something else."""
        value = self.values.get(key)
        return value if isinstance(value, str) else ""

    def count(self, key: str) -> int:
        """A setting that is a whole number from 0; 0 if it is not given, or is something else."""
        value = self.values.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else 0


def given_settings(given: Mapping[Any, Any]) -> GivenSettings:
    """The settings in a dictionary, whatever is in it; None is left out, and what TOML cannot say becomes text.

    Raises RunError if they are more than anybody reads, or if the dictionary itself cannot be read.
    """
    known = {info.key: info for info in fields() if "[]" not in info.key}
    tables = {key for key, info in known.items() if info.type.startswith("table")}
    values: dict[str, Any] = {}
    for name, value in _read(_leaves("", given, tables)):
        key = SHORT_NAMES.get(name) or _ALSO.get(name, name)
        values[key if key in known and "." in key else f"{OWN}.{name}"] = value
        if len(values) > _MOST:
            raise RunError(f"these are more than {_MOST} settings: give those that say what is trained")
    return GivenSettings(values)


def _read(leaves: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    try:
        yield from leaves
    except Exception as error:  # a mapping of the program's own may raise anything
        raise RunError(f"these settings cannot be read: {type(error).__name__}: {shown(error)}") from error


def _leaves(
    prefix: str, given: Mapping[Any, Any], tables: set[str], depth: int = _DEEPEST
) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        key = f"{prefix}{_text(name)}"
        if isinstance(value, Mapping) and value and key not in tables and depth:
            yield from _leaves(f"{key}.", value, tables, depth - 1)
        elif (plain := _plain(value, depth)) is not None:
            yield key, plain


def _plain(value: Any, depth: int) -> Any:
    """The value as TOML has it; None for nothing."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else _text(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)) and depth and len(value) <= _MOST:
        return [plain for item in value if (plain := _plain(item, depth - 1)) is not None]
    if isinstance(value, Mapping) and depth:
        return {_text(key): plain for key, item in value.items() if (plain := _plain(item, depth - 1)) is not None}
    return _text(value)


def _text(value: Any) -> str:
    """A value as text, whatever its `str` does."""
    try:
        text = str(value)
    except Exception as error:  # as that of a whole number of 5,000 digits, or of 5,000 levels
        return f"({type(value).__name__}, not kept: {type(error).__name__})"
    return text if len(text) <= _LONGEST_TEXT else f"({len(text)} characters, not kept)"
