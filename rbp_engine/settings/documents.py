"""Read TOML files, with the line of every key."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tomli

from rbp_engine.settings.lines import KeyPath, key_lines
from rbp_engine.settings.problems import Problem
from rbp_engine.untrusted_files import TOML_LIMIT, TooComplex, parse_toml, read_untrusted


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
    except TooComplex as error:
        return Problem("", f"is not usable: {error}")
    except ValueError as error:
        # Python refuses integers of thousands of digits before tomli can report their position.
        return Problem("", f"is not TOML: {error}")
