"""A user's own network or data set: a Python file beside the preset, named as `nets.py:MyNet`.

The file is copied into every run that uses it, and its hash enters the experiment. Nothing is executed here.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OWN_CODE = re.compile(r"(?P<file>[^:]+\.py):(?P<name>[A-Za-z_][A-Za-z_0-9]*)")
FIELDS = ("model.name", "data.name")


@dataclass(frozen=True)
class OwnCode:
    """The file that a field of a preset names, and what it held when the preset was loaded."""

    path: Path
    source: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.source).hexdigest()


def own_file(value: str) -> str | None:
    """The file of a name like `nets.py:MyNet`; None for a built-in one."""
    match = OWN_CODE.fullmatch(value)
    return match["file"] if match else None


def read_own_code(value: str, folder: Path) -> OwnCode:
    """Read the file that a value names, relative to `folder`. Raises OSError."""
    path = folder / Path(own_file(value) or "").expanduser()
    return OwnCode(path.absolute(), path.read_bytes())


def inside_a_run(value: str) -> str:
    """The name that the run's own copy of the file goes by: the file without its folders."""
    match = OWN_CODE.fullmatch(value)
    return f"{Path(match['file']).name}:{match['name']}" if match else value


def digests(code: Mapping[str, OwnCode]) -> dict[str, str]:
    """The hash of each field's file, for the identity of the experiment."""
    return {field: own.digest for field, own in code.items()}
