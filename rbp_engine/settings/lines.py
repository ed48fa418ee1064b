"""The line of each key in a TOML text.

tomli returns values without lines. So a text that it has accepted is parsed again, a statement at a time.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Any, Final

import tomli

from rbp_engine.untrusted_files import TOML_TEXT

#: Keys and array indices from the top: `("paper", "figures", 0, "top1")`.
KeyPath = tuple[str | int, ...]

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Map every key, table and array element of `text`, which tomli accepts, to its line (from 1).

    A table that is only implied by its children has the line of the first child, and all that is inside an array or an
    inline table that of its key. The text must not nest arrays hundreds deep, which `parse_toml` refuses.
    """
    lines: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}  # of the tables so far in each array of tables
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
        if path in counts and values and isinstance(values, dict):
            path = (*path, counts[path] - 1)
    if isinstance(values, list):
        counts[path] = counts.get(path, 0) + 1
        path = (*path, counts[path] - 1)
    lines[path] = line
    return path


def _note(value: Any, path: KeyPath, line: int, lines: dict[KeyPath, int]) -> None:
    """Note the line of everything in a value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        lines.setdefault((*path, key), line)
        _note(inner, (*path, key), line, lines)
