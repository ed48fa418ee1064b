"""Where output goes: data to stdout, talk to stderr."""

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

RunsDir = Annotated[
    Path | None,
    typer.Option(
        "--runs-dir",
        metavar="DIR",
        help="Where runs are kept (else $RBP_RUNS, machine.toml, ./runs).",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]


def fail(message: str, code: int) -> int:
    """Say on stderr what went wrong; gives back the exit code."""
    say(f"[bold red]error[/] {_plain(message)}")
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
        say(f"[dim]{_plain(what)} …[/]")
        yield lambda text: say(f"[dim]{_plain(text)} …[/]")
        return
    with out.status(_plain(what)) as status:
        yield lambda text: status.update(_plain(text))


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
