"""A user's own network, neuron, surrogate, data set, loss or metrics: a Python file, named like `nets.py:MyNet`.

The file is copied into every run that uses it, and its hash is part of the experiment's. What it imports from beside it
is not: such a file is refused. Nothing is executed here.
"""

import ast
import contextlib
import hashlib
import os
import re
import symtable
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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
_BLOCKS: Final = ("body", "orelse", "finalbody", "handlers", "cases")
_IMPORT: Final = re.compile(rb"^[ \t]*(?:import|from)[ \t]+([.\w]+)", re.MULTILINE)
# The folder that contains this package: a checkout of rbp, or the one of the installed packages.
_ROOT: Final = Path(__file__).resolve().parents[2]


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

    Or why it must not: it imports what no run records. The syntax of a long file is left to its execution.
    """
    name = value.rpartition(":")[2]
    if len(own.source) > _QUICKLY_PARSED:
        found = re.search(rb"\b%s\b" % name.encode(), own.source)
        lines = ((own.source.count(b"\n", 0, one.end()) + 1, one[1].decode()) for one in _IMPORT.finditer(own.source))
        return _unless_there(name, [name] if found else [], own) or _unrecorded(lines, own)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the file, whose text must not reach the terminal
            symbols = symtable.symtable(own.source, own.path.name, "exec").get_symbols()  # type: ignore[arg-type]  # or bytes
            statements = ast.parse(own.source).body
    except SyntaxError as error:
        line = "" if error.lineno is None else f" line {error.lineno}"
        return f"{own.path.name}{line} is not Python: {error.msg}"
    except (RecursionError, MemoryError):
        return f"{own.path.name} is not usable: nested too deeply"
    except ValueError as error:
        return f"{own.path.name} is not Python: {error}"
    there = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
    return _unless_there(name, there, own) or _unrecorded(_imports(statements), own)


def _unless_there(name: str, there: Collection[str], own: OwnCode) -> str | None:
    if name in there or b"import *" in own.source:
        return None
    return f"{own.path.name} has no class or function called '{name}'.{did_you_mean(name, there)}"


def _imports(statements: list[Any]) -> Iterator[tuple[int, str]]:
    """Line and module of each import, without those that are only for a type checker or for the file as a program."""
    for one in statements:
        if isinstance(one, ast.Import):
            yield from ((one.lineno, alias.name) for alias in one.names)
        elif isinstance(one, ast.ImportFrom):
            yield one.lineno, "." * one.level + (one.module or "")
        elif isinstance(one, ast.If) and _is_false_in_a_run(one.test):
            yield from _imports(one.orelse)
        else:
            for block in _BLOCKS:
                yield from _imports(getattr(one, block, []))


def _is_false_in_a_run(test: ast.expr) -> bool:
    """Whether a condition is `TYPE_CHECKING` or `__name__ == "__main__"`."""
    if isinstance(test, ast.Compare):
        return isinstance(test.left, ast.Name) and test.left.id == "__name__" and isinstance(test.ops[0], ast.Eq)
    return (test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")) == "TYPE_CHECKING"


def _unrecorded(imports: Iterator[tuple[int, str]], own: OwnCode) -> str | None:
    """The first import of what is no installed package, and so recorded nowhere, in words; None if there is none."""
    near = {own.path.parent.resolve(), own.path.resolve().parent}
    with contextlib.suppress(FileNotFoundError):  # the working directory is gone
        near.add(Path.cwd())
    for line, module in imports:
        if place := f"beside {own.path.name}" if module.startswith(".") else _place_of_neighbour(module, near):
            return (
                f"{own.path.name} line {line} imports {module} ({place}), which no run records: put what it needs into "
                f"{own.path.name} itself, or into an installed package"
            )
    return None


def _place_of_neighbour(module: str, near: Collection[Path]) -> str:
    """Where a module is, if that is in one of the folders `near`, or in a checkout of rbp; "" for all others."""
    name = module.partition(".")[0]
    if name == "rbp_engine" or name in sys.builtin_module_names:
        return ""
    checkout = {_ROOT} if (_ROOT / "pyproject.toml").is_file() else set()
    found = PathFinder.find_spec(name)
    if found is None:  # nor would a run find it
        found = PathFinder.find_spec(name, [str(folder) for folder in {*near, *checkout}])
        # A folder of data, say, is no package.
        if found and found.origin is None and not any(list(place.glob("*.py")) for place in _places(found)):
            return ""
    for place in _places(found) if found else []:
        installed = "site-packages" in place.parts
        if place.parent in near or any(place.is_relative_to(folder) and not installed for folder in checkout):
            return str(place)
    return ""


def _places(found: Any) -> list[Path]:
    """The file of a module, or the folders of a package."""
    places = found.submodule_search_locations or [found.origin]
    return [Path(place).parent.resolve() / Path(place).name for place in places]


def inside_a_run(value: str) -> str:
    """The name for the run's copy of the file: the same without folders."""
    match = OWN_CODE.fullmatch(value)
    return f"{Path(match['file']).name}:{match['name']}" if match else value


def digests(code: Mapping[str, OwnCode]) -> dict[str, str]:
    """The hash of each field's file, for the identity of the experiment."""
    return {field: own.digest for field, own in code.items()}
