"""`--trust`: use a run of another user, or one with code that this user has not launched."""

import sys
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from rbp_tui.cli.output import say

T = TypeVar("T")

Trust = Annotated[
    bool, typer.Option("--trust", help="Use a run of another user, or code that you have not launched here.")
]


def once_trusted(action: Callable[[], T], *, trust: bool) -> T:
    """The result of an action on a run, once the user trusts what it would use.

    The user has said so with `trust`, or is asked at a terminal; otherwise raises Untrusted.
    """
    from rbp_engine.run.trust import Untrusted

    agreed: set[str] = set()
    while True:
        try:
            return action()
        except Untrusted as untrusted:
            if untrusted.key in agreed or not (trust or _asked(untrusted.why)):
                raise
            agreed.add(untrusted.key)
            untrusted.agree()


def warn_of_shared_presets(name: str) -> None:
    """Name `./presets` if others may write there, before a preset of it is used."""
    from rbp_engine.preset.find import shared_presets_problem

    if problem := shared_presets_problem(name):
        say("[yellow]warning[/] {}", problem)


def _asked(why: str) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    say("[yellow]{}[/]", why)
    return typer.confirm("Do you trust it?", default=False, err=True)
