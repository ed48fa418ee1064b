"""Read TOML files, with the line of every key."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from rbp_engine.settings.lines import KeyPath, key_lines
from rbp_engine.settings.problems import Problem


@dataclass(frozen=True)
class Document:
    """The contents of one TOML file and the line of each key."""

    path: Path
    values: dict[str, Any]
    lines: dict[KeyPath, int]


def read_document(path: Path) -> Document | Problem:
    """Read a TOML file; returns a problem if it cannot be read, is not UTF-8 or is not TOML."""
    text = read_text(path)
    return text if isinstance(text, Problem) else parse_document(text, path)


def read_text(path: Path) -> str | Problem:
    """Read a text file with its line ends unchanged; returns a problem if it cannot be read or is not UTF-8."""
    try:
        content = path.read_bytes()
    except IsADirectoryError:
        return Problem("", "is a directory, expected a TOML file")
    except FileNotFoundError:
        return Problem("", "no such file")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Problem("", f"cannot be read: {reason}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Problem("", f"is not UTF-8 text (byte 0x{content[error.start]:02x})", line)


def parse_document(text: str, path: Path) -> Document | Problem:
    """Parse TOML text from `path`; returns a problem with line and column for a syntax error."""
    try:
        return Document(path, tomli.loads(text), key_lines(text))
    except tomli.TOMLDecodeError as error:
        return Problem("", f"is not TOML: {error.msg} (column {error.colno})", error.lineno)
    except RecursionError:
        return Problem("", "is not usable: arrays or tables are nested too deeply")
    except ValueError as error:
        # Python refuses integers of thousands of digits before tomli can report their position.
        return Problem("", f"is not TOML: {error}")
