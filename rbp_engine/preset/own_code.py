"""A user's own network, neuron, surrogate, data set, loss or metrics: a Python file, named like `nets.py:MyNet`.

The file is copied into every run that uses it, and its hash is part of the experiment's. Nothing is executed here.
"""

import hashlib
import os
import re
import symtable
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rbp_engine.settings.spelling import did_you_mean
from rbp_engine.untrusted_files import TEXT_LIMIT, read_untrusted
from rbp_engine.vocabulary import OWN_CODE

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

#: The fields that may name own code.
FIELDS: Final = (
    ("model", "name"),
    ("neuron", "name"),
    ("neuron", "surrogate"),
    ("data", "name"),
    ("loss", "name"),
    ("probes", "own"),
)
OUTSIDE = "a run executes only what is in its own folder of code: expected a file's name without folders"
# Bytes. Python's parser needs a second for a hostile file of this size, and time by the square of the size.
_QUICKLY_PARSED: Final = 64 * 1024


@dataclass(frozen=True)
class OwnCode:
    """The file that a field of a preset names, and its contents when the preset was loaded."""

    path: Path
    source: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.source).hexdigest()


def names_of_code(preset: "Preset") -> dict[tuple[str, str], str]:
    """What a preset has in the fields that may name own code, by section and name of the field."""
    return {(section, name): getattr(getattr(preset, section), name) for section, name in FIELDS}


def own_file(value: str) -> str | None:
    """The file in a name like `nets.py:MyNet`; None for a built-in name, or none."""
    match = OWN_CODE.fullmatch(value)
    return match["file"] if match else None


def leads_out_of_a_run(value: str) -> bool:
    """Whether a name from a run's own preset leads to a file outside the run's folder of code, as no run writes it."""
    file = own_file(value)
    return file is not None and file != Path(file).name


def read_own_code(value: str, folder: Path) -> OwnCode:
    """Read the file that a value names, relative to `folder`. Raises OSError."""
    path = folder / os.path.expanduser(own_file(value) or "")  # noqa: PTH111  # pathlib raises for an unknown ~user
    return OwnCode(path.absolute(), read_untrusted(path, TEXT_LIMIT))


def fault(value: str, own: OwnCode) -> str | None:
    """Why the file cannot define what a value names, as far as is known without executing it; None if it can.

    The syntax of a long file is left to its execution.
    """
    name = value.rpartition(":")[2]
    if len(own.source) > _QUICKLY_PARSED:
        found = re.search(rb"\b%s\b" % name.encode(), own.source)
        return _unless_there(name, [name] if found else [], own)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the file, whose text must not reach the terminal
            symbols = symtable.symtable(own.source, own.path.name, "exec").get_symbols()  # type: ignore[arg-type]  # or bytes
    except SyntaxError as error:
        line = "" if error.lineno is None else f" line {error.lineno}"
        return f"{own.path.name}{line} is not Python: {error.msg}"
    except (RecursionError, MemoryError):
        return f"{own.path.name} is not usable: nested too deeply"
    except ValueError as error:
        return f"{own.path.name} is not Python: {error}"
    there = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
    return _unless_there(name, there, own)


def _unless_there(name: str, there: Collection[str], own: OwnCode) -> str | None:
    if name in there or b"import *" in own.source:
        return None
    return f"{own.path.name} has no class or function called '{name}'.{did_you_mean(name, there)}"


def inside_a_run(value: str) -> str:
    """The name for the run's copy of the file: the same without folders."""
    match = OWN_CODE.fullmatch(value)
    return f"{Path(match['file']).name}:{match['name']}" if match else value


def digests(code: Mapping[str, OwnCode]) -> dict[str, str]:
    """The hash of each field's file, for the identity of the experiment."""
    return {field: own.digest for field, own in code.items()}
