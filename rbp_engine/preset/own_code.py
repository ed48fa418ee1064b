"""A user's own network, neuron, surrogate, data set, loss or metrics: a Python file, named like `nets.py:MyNet`.

The file and what it imports from its folder are copied into every run that uses it, and their hash is part of the
experiment's. Nothing is executed here.
"""

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rbp_engine.preset.own_imports import MOST_FILES, imported_files, names_defined
from rbp_engine.settings.spelling import describe_value, did_you_mean
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


@dataclass(frozen=True)
class OwnCode:
    """The file that a field of a preset names, and its contents and those of what it imports from its folder, by path
    relative to that, when the preset was loaded."""

    path: Path
    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        hashes = sorted((name, hashlib.sha256(source).hexdigest()) for name, source in self.files.items())
        return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


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


def read_own_code(value: str, folder: Path, *, copied: bool = False) -> OwnCode:
    """Read the file that a value names, relative to `folder`, and what it imports from there; `copied` into a run, or
    the user's own.

    Raises OSError, and ValueError for files that cannot define what the value names, as far as is known without
    executing them, or that no run can have.
    """
    if copied and leads_out_of_a_run(value):
        raise ValueError(f"{OUTSIDE}, got {describe_value(value)}")
    path = (folder / os.path.expanduser(own_file(value) or "")).absolute()  # noqa: PTH111  # pathlib raises for an unknown ~user

    @functools.cache
    def read(name: str) -> bytes | None:
        try:
            return read_untrusted(path.parent / name, TEXT_LIMIT)
        except (FileNotFoundError, NotADirectoryError):
            if name != path.name:
                return None
            raise

    source = read(path.name) or b""
    name, there = value.rpartition(":")[2], names_defined(source, path.name)
    if name not in there and b"import *" not in source:
        raise ValueError(f"{path.name} has no class or function called '{name}'.{did_you_mean(name, there)}")
    return OwnCode(path, imported_files(path.name, read, None if copied else path.parent))


def all_files(code: Mapping[str, OwnCode]) -> dict[str, bytes]:
    """What a run has in its folder of code, by path in it."""
    return {name: source for own in code.values() for name, source in own.files.items()}


def problem_together(code: Mapping[str, OwnCode]) -> tuple[str, str] | None:
    """The field whose files cannot be in one folder with those of the others, and why; None if all can."""
    together: dict[str, bytes] = {}
    for field, own in code.items():
        for name, source in own.files.items():
            if together.setdefault(name, source) != source:
                return field, f"two different files are called {name}"
        if len(together) > MOST_FILES:
            return field, f"with its files there are more than {MOST_FILES}: install some of them as a package"
    if len({own.path.parent for own in code.values()}) > 1:
        for field, own in code.items():
            if others := sorted(imported_files(own.path.name, together.get, None).keys() - own.files.keys()):
                return field, f"in a run, {own.path.name} would import {others[0]} of another field: rename this file"
    return None


def inside_a_run(value: str) -> str:
    """The name for the run's copy of the file: the same without folders."""
    match = OWN_CODE.fullmatch(value)
    return f"{Path(match['file']).name}:{match['name']}" if match else value


def digests(code: Mapping[str, OwnCode]) -> dict[str, str]:
    """The hash of each field's file, for the identity of the experiment."""
    return {field: own.digest for field, own in code.items()}
