"""A user's own network or data set: a Python file beside the preset, named like `nets.py:MyNet`.

The file is copied into every run that uses it, and its hash is part of the experiment's. Nothing is executed here.
"""

import hashlib
import symtable
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rbp_engine.settings.spelling import did_you_mean
from rbp_engine.vocabulary import OWN_CODE

FIELDS = ("model.name", "data.name")


@dataclass(frozen=True)
class OwnCode:
    """The file that a field of a preset names, and its contents when the preset was loaded."""

    path: Path
    source: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.source).hexdigest()


def own_file(value: str) -> str | None:
    """The file in a name like `nets.py:MyNet`; None for a built-in name."""
    match = OWN_CODE.fullmatch(value)
    return match["file"] if match else None


def read_own_code(value: str, folder: Path) -> OwnCode:
    """Read the file that a value names, relative to `folder`. Raises OSError."""
    path = folder / Path(own_file(value) or "").expanduser()
    return OwnCode(path.absolute(), path.read_bytes())


def fault(value: str, own: OwnCode) -> str | None:
    """Why the file cannot define what a value names, as far as is known without executing it; None if it can."""
    try:
        symbols = symtable.symtable(own.source, own.path.name, "exec").get_symbols()  # type: ignore[arg-type]  # or bytes
    except SyntaxError as error:
        line = "" if error.lineno is None else f" line {error.lineno}"
        return f"{own.path.name}{line} is not Python: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{own.path.name} is not Python: {error}"
    name = value.rpartition(":")[2]
    there = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
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
