"""Output of commands: data on stdout, messages on stderr. Nothing else in the commands writes to either.

Text from files, of runs, presets and logs, may be anybody's. Here it loses what a terminal would obey, and brackets in
it are no markup: messages and cells take it as values beside a literal template (`styled`), lines take only what has
passed a filter (`Line`, `Lines`), and the console filters what it is given once more.
"""

import io
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbp_engine.errors import UserError
from rbp_engine.printable import LONGEST_TEXT, Line, Lines, in_json, one_line, visible
from rbp_tui.text.styled import styled
from rbp_tui.text.words import MEANINGS

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

#: An error may list many problems, each with its place.
LONGEST_ERROR = 10 * LONGEST_TEXT

#: Of COLUMNS: tables are padded to the width of the terminal, and a mistyped one would take minutes.
WIDEST = 1000


class StdoutLost(UserError):
    """Stdout cannot be written, as on a full disk."""


class _Stdout(io.FileIO):
    """Stdout, where a failed write is `StdoutLost`, or BrokenPipeError where nobody reads.

    Only the first one: later writes are dropped, such as those of Python when it flushes at the end.
    """

    _lost = False

    def write(self, data: Any, /) -> int:
        if self._lost:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self._lost = True
            if isinstance(error, BrokenPipeError):
                raise
            raise StdoutLost(f"cannot write to stdout: {error.strerror}; make room, or send it elsewhere") from error


def prepare_streams() -> None:
    """Have failed writes end in one sentence, unknown characters become question marks, and bound the width.

    What is closed, as by `<&-` in a job file, is the null device: its number would be that of the next file opened.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w" if number else "r", encoding="utf-8"))  # noqa: SIM115
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        raw = _Stdout(sys.stdout.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw),
            sys.stdout.encoding,
            line_buffering=sys.stdout.line_buffering,
            write_through=sys.stdout.write_through,
        )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ▶ shows a question mark instead
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns[:20]) > WIDEST:
        os.environ["COLUMNS"] = str(WIDEST)


def fail(message: str, code: int) -> int:
    """Print an error on stderr; returns the exit code."""
    from rich.text import Text

    say("[bold red]error[/] {}", Text(visible(message, LONGEST_ERROR)))
    return code


def say(template: str, *values: object) -> None:
    """Print a message on stderr, a `styled` one. On a terminal its lines break between words, never inside one."""
    _print_message(console(stderr=True), styled(template, *values))


def say_next(commands: Sequence[str], *, stderr: bool = True) -> None:
    """Name the commands to type next: in one line if that fits, else one a line; no command is broken, so that it can
    be copied."""
    from rich.cells import cell_len

    target, line = console(stderr=stderr), f"  next: {'  ·  '.join(commands)}"
    apart = target.is_terminal and cell_len(line) > target.width
    for text in [f"{'' if number else '  next:':7} {one}" for number, one in enumerate(commands)] if apart else [line]:
        target.print(one_line(text, LONGEST_TEXT), soft_wrap=True, highlight=False)


def say_methods() -> None:
    """What the names of the rate methods mean, where they first appear."""
    for word in ("rate_M", "rate_S"):
        say("[dim]{}: {}[/]", word, MEANINGS[word])


def print_styled(template: str, *values: object) -> None:
    """Print a line of what was asked for on stdout, as `say` does."""
    _print_message(console(), styled(template, *values))


def _print_message(target: "Console", text: "Text") -> None:
    from rich.text import Text

    if target.is_terminal:
        text = Text("\n").join(_between_words(line, target.width) for line in text.split("\n", allow_blank=True))
    target.print(text, soft_wrap=True, highlight=False)


def _between_words(line: "Text", width: int) -> "Text":
    """A line broken between words, with its indentation in each; what is longer than the width stays whole."""
    from rich.cells import cell_len
    from rich.text import Text

    plain = line.plain
    indent = begin = len(plain) - len(plain.lstrip(" "))
    breaks = []
    for word in re.finditer(r"\S+", plain):
        if word.start() > begin and indent + cell_len(plain[begin : word.end()]) > width:
            begin = word.start()
            breaks.append(begin)
    rows = line.divide(breaks)
    for row in rows:
        row.rstrip()
    return Text("\n" + " " * indent).join(rows)


def print_rich(renderable: "RenderableType", *, soft_wrap: bool = False, stderr: bool = False) -> None:
    """Print a table or a text on stdout; a `str` in it is no markup."""
    console(stderr=stderr).print(renderable, soft_wrap=soft_wrap, highlight=False)


def console(*, stderr: bool = False) -> "Console":
    """A Rich console on stdout or stderr that knows no markup and prints no control character but its own."""
    from rbp_tui.cli.safe_console import SafeConsole

    return SafeConsole(stderr=stderr)


def cell(value: object) -> Line:
    """A value in a cell of a table."""
    return one_line(str(value), LONGEST_TEXT)


def print_line(text: Line) -> None:
    """Print a line on stdout."""
    sys.stdout.write(f"{text}\n")


def print_lines(text: Lines) -> None:
    """Print lines on stdout; the last may lack its end."""
    sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")


if TYPE_CHECKING:

    def _mypy_refuses_what_has_not_been_filtered(text: str) -> None:
        print_line(text)  # type: ignore[arg-type]
        print_lines(text)  # type: ignore[arg-type]


def print_part(text: Lines) -> None:
    """Print a part of a log on stdout, as far as it goes."""
    sys.stdout.write(text)
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """Print one JSON document on stdout, with all of its text, and escapes for what a terminal would obey."""
    sys.stdout.write(in_json(json.dumps(value, indent=2, ensure_ascii=False, default=str)) + "\n")
