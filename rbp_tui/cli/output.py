"""Output of commands: data on stdout, messages on stderr."""

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


def fail(message: str, code: int) -> int:
    """Print an error on stderr; returns the exit code."""
    say(f"[bold red]error[/] {plain(message, lines=True)}")
    return code


def say(markup: str) -> None:
    """Print a message in Rich markup on stderr, without breaking long words and paths."""
    console(stderr=True).print(markup, soft_wrap=True, highlight=False)


def console(*, stderr: bool = False) -> "Console":
    """A Rich console on stdout or stderr."""
    from rich.console import Console

    return Console(stderr=stderr)


@contextlib.contextmanager
def working(what: str) -> "Iterator[Callable[[str], None]]":
    """Show a status on stderr; the yielded function changes it, in place on a terminal, else on a new line."""
    out = console(stderr=True)
    if not out.is_terminal:
        say(f"[dim]{plain(what)} …[/]")
        yield lambda text: say(f"[dim]{plain(text)} …[/]")
        return
    with out.status(plain(what)) as status:
        yield lambda text: status.update(plain(text))


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def plain(text: str, *, lines: bool = False) -> str:
    """Escape a text as Rich markup, without control characters, and on one line unless it has `lines`."""
    from rich.markup import escape

    from rbp_engine.report.names import one_line

    return escape("\n".join(map(one_line, text.split("\n"))) if lines else one_line(text))
