"""Read TOML files, with the line of every key.

tomli returns values without lines. So a text that it has accepted is parsed again, a statement at a time.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import tomli

from rbp_engine.settings.problems import Problem, SettingsFileError
from rbp_engine.untrusted_files import TOML_LIMIT, TOML_TEXT, parse_toml, read_untrusted

#: Keys and array indices from the top: `("paper", "figures", 0, "top1")`.
KeyPath = tuple[str | int, ...]
Read = TypeVar("Read")

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Map every key, table and array element of `text`, which tomli accepts, to its line (from 1).

    A table that is only implied by its children has the line of the first child, and all that is inside an array or an
    inline table that of its key. The text must not nest arrays hundreds deep, which `parse_toml` refuses.
    """
    lines: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}  # the index of the last table in each array of tables
    table: KeyPath = ()
    for line, statement in _statements(text):
        values = tomli.loads(statement)
        if statement.lstrip().startswith("["):
            table = _header(values, line, lines, counts)
        else:
            _note(values, table, line, lines)
    return lines


def dotted(path: KeyPath) -> str:
    """Write a path the way a user would: `paper.figures[0].top1`; a key that needs quotes gets them."""
    words: list[str] = []
    for part in path:
        if isinstance(part, int):
            words.append(f"[{part}]")
        else:
            word = part if _BARE_KEY.fullmatch(part) else repr(part)
            words.append(f".{word}" if words else word)
    return "".join(words)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each header and each key with its value, with the line where it begins."""
    hollow = TOML_TEXT.sub(lambda found: "'" * (found[0][0] != "#") + "\n" * found[0].count("\n"), text)
    depth, begins = 0, []
    for number, row in enumerate(hollow.split("\n")):
        if depth == 0 and row.strip():
            begins.append(number)
        depth += row.count("[") + row.count("{") - row.count("]") - row.count("}")
    rows = text.split("\n")
    for begin, end in itertools.pairwise([*begins, len(rows)]):
        yield begin + 1, "\n".join([*rows[begin:end], ""])


def _header(values: Any, line: int, lines: dict[KeyPath, int], counts: dict[KeyPath, int]) -> KeyPath:
    """The path of the table that a header begins; the name of an array of tables refers to its last table."""
    path: KeyPath = ()
    while isinstance(values, dict) and values:
        ((part, values),) = values.items()
        path = (*path, part)
        lines.setdefault(path, line)
        if isinstance(values, list):
            counts[path] = counts.get(path, -1) + 1
        if path in counts and values:
            path = (*path, counts[path])
    lines[path] = line
    return path


def _note(value: Any, path: KeyPath, line: int, lines: dict[KeyPath, int]) -> None:
    """Note the line of everything in a value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        lines.setdefault((*path, key), line)
        _note(inner, (*path, key), line, lines)


@dataclass(frozen=True)
class Document:
    """The contents of one TOML file."""

    path: Path
    values: dict[str, Any]
    text: str

    @cached_property
    def lines(self) -> dict[KeyPath, int]:
        """The line of each key. Found when somebody asks, for it takes as long as all the rest: problems have lines."""
        return key_lines(self.text)

    def line(self, path: KeyPath) -> int | None:
        """The line of what is at a path, or of the nearest table or array around it; None if there is none."""
        around = (path[:length] for length in range(len(path), 0, -1))
        return next((self.lines[part] for part in around if part in self.lines), None)


def read_document(path: Path) -> Document | Problem:
    """Read a TOML file; returns a problem if it cannot be read, is not UTF-8 or is not TOML."""
    text = read_text(path)
    return text if isinstance(text, Problem) else parse_document(text, path)


def read_text(path: Path) -> str | Problem:
    """Read the text of a TOML file with its line ends unchanged.

    Returns a problem if it is no regular file, larger than any such file should be, or not UTF-8.
    """
    try:
        content = read_untrusted(path, TOML_LIMIT)
    except FileNotFoundError:
        return Problem("", "no such file")
    except OSError as error:
        return Problem("", f"cannot be read: {error.strerror or error}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Problem("", f"is not UTF-8 text (byte 0x{content[error.start]:02x})", line)


def parse_document(text: str, path: Path) -> Document | Problem:
    """Parse TOML text from `path`; returns a problem with line and column for a syntax error."""
    try:
        return Document(path, parse_toml(text), text)
    except tomli.TOMLDecodeError as error:
        return Problem("", f"is not TOML: {error.msg} (column {error.colno})", error.lineno)
    except ValueError as error:  # too complex, or with integers of thousands of digits, which Python refuses
        return Problem("", f"is not usable: {error}")


def usable(found: Read | Problem, error: type[SettingsFileError], source: object) -> Read:
    """What one of the functions above has found. Raises an error of `source`, a file as messages show it, for a
    problem."""
    if isinstance(found, Problem):
        raise error(source, [found])
    return found
