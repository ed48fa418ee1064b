"""The progress of a long command on stderr: what it does now, for how long, and about how long it still takes."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rbp_tui.cli.output import cell, console, say
from rbp_tui.text import format as fmt

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Without a terminal, a line comes this often.
EVERY_S = 10.0
# The share that is done says nothing about the whole before this.
TELLING = 0.1


@contextlib.contextmanager
def progress(what: str, every_s: float = EVERY_S) -> Iterator[Callable[[str, float], None]]:
    """Say `what` will be done and about how long it takes; then show how it goes.

    The yielded function takes what is done next, in words, and the share of the whole that is done. On a terminal a bar
    shows them, else a line every `every_s` seconds.
    """
    say("[dim]{}[/]", what)
    state = ProgressState()
    shown = _bar(state) if console(stderr=True).is_terminal else _lines(state, every_s)
    with shown:
        yield state.report


class ProgressState:
    """How far a command has come."""

    def __init__(self) -> None:
        self.begun = self.reported = time.monotonic()
        self.doing = "starting"
        self.share = 0.0

    def report(self, doing: str, share: float) -> None:
        """Note what is done next, and the share of the whole that is done."""
        self.doing, self.share, self.reported = doing, share, time.monotonic()

    def text(self) -> str:
        """As `42s so far, about 30s left`."""
        now = time.monotonic()
        left = remaining_s(self.share, self.reported - self.begun, now - self.reported)
        rest = "" if left is None else f", about {fmt.duration(left)} left"
        return f"{fmt.duration(now - self.begun)} so far{rest}"


def remaining_s(share: float, took_s: float, since_s: float) -> float | None:
    """Seconds left if `share` of the whole took `took_s`, `since_s` ago; None if that cannot be said."""
    if not TELLING <= share <= 1.0:
        return None
    left = took_s / share * (1.0 - share) - since_s
    return left if left > 0 else None


@contextlib.contextmanager
def _bar(state: ProgressState) -> Iterator[None]:
    from rich.live import Live

    with Live(
        get_renderable=lambda: _picture(state), console=console(stderr=True), refresh_per_second=4, transient=True
    ):
        yield


def _picture(state: ProgressState) -> "RenderableType":
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(ratio=2, no_wrap=True, overflow="ellipsis")
    row.add_column(ratio=1)
    row.add_column(no_wrap=True, justify="right")
    row.add_row(cell(state.doing), ProgressBar(total=1.0, completed=state.share), state.text())
    return row


@contextlib.contextmanager
def _lines(state: ProgressState, every_s: float) -> Iterator[None]:
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(every_s):
            say("[dim]{}; {}[/]", state.doing, state.text())

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
