"""Reading TOML files, with the line of every key."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from rbp_engine.settings.lines import KeyPath, key_lines
from rbp_engine.settings.problems import Problem


@dataclass(frozen=True)
class Document:
    """The content of one TOML file and the line of each of its keys."""

    path: Path
    values: dict[str, Any]
    lines: dict[KeyPath, int]


def read_document(path: Path) -> Document | Problem:
    """Read a TOML file; a file that cannot be read, is not UTF-8 or is not TOML gives its problem instead."""
    text = read_text(path)
    return text if isinstance(text, Problem) else parse_document(text, path)


def read_text(path: Path) -> str | Problem:
    """Read a text file as it is, line ends included; one that cannot be read or is not UTF-8 gives its problem."""
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
    """Parse TOML text that came from `path`; a syntax error gives a problem with its line and column."""
    try:
        return Document(path, tomli.loads(text), key_lines(text))
    except tomli.TOMLDecodeError as error:
        return Problem("", f"is not TOML: {error.msg} (column {error.colno})", error.lineno)
    except RecursionError:
        return Problem("", "is not usable: arrays or tables are nested too deeply")
    except ValueError as error:
        # Python refuses integers of thousands of digits before tomli can say where they stand.
        return Problem("", f"is not TOML: {error}")
