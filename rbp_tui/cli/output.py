"""Where output goes: data to stdout, talk to stderr."""

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


def fail(message: str, code: int) -> int:
    """Say on stderr what went wrong; gives back the exit code."""
    say(f"[bold red]error[/] {plain(message, lines=True)}")
    return code


def say(markup: str) -> None:
    """Talk on stderr, in Rich markup; long words and paths are not broken."""
    console(stderr=True).print(markup, soft_wrap=True, highlight=False)


def console(*, stderr: bool = False) -> "Console":
    """A Rich console on stdout or stderr."""
    from rich.console import Console

    return Console(stderr=stderr)


@contextlib.contextmanager
def working(what: str) -> "Iterator[Callable[[str], None]]":
    """Say on stderr what goes on, which what is given back can change: in place on a terminal, else a line for each."""
    out = console(stderr=True)
    if not out.is_terminal:
        say(f"[dim]{plain(what)} …[/]")
        yield lambda text: say(f"[dim]{plain(text)} …[/]")
        return
    with out.status(plain(what)) as status:
        yield lambda text: status.update(plain(text))


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def plain(text: str, *, lines: bool = False) -> str:
    """A text as Rich markup that says just this: without control characters, and in one line unless it has `lines`."""
    from rich.markup import escape

    from rbp_engine.report.names import one_line

    return escape("\n".join(map(one_line, text.split("\n"))) if lines else one_line(text))
