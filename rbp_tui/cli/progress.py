"""The progress of a long command on stderr: what it does now, for how long, and about how long it still takes."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from rbp_tui.cli.output import cell, console, say
from rbp_tui.text import format as fmt

if TYPE_CHECKING:
    from rich.progress import Task
    from rich.text import Text

#: Without a terminal, a line comes this often.
EVERY_S = 10.0


def end_on_sigterm() -> None:
    """Let SIGTERM end a long command as Ctrl-C does, with its processes and its temporary folder."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)


@contextlib.contextmanager
def progress(what: str, every_s: float = EVERY_S) -> Iterator[Callable[[str, float], None]]:
    """Say `what` will be done and about how long it takes; then show how it goes.

    The yielded function takes what is done next, in words, and the share of the whole that is done. On a terminal a bar
    shows them, else a line every `every_s` seconds.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class TimeLeft(TextColumn):
        def render(self, task: "Task") -> "Text":
            return Text(_left(task), "cyan")

    end_on_sigterm()
    say("[dim]{}[/]", what)
    out = console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn(), TimeLeft(""))
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        number = bar.add_task("starting", total=1.0)
        with contextlib.nullcontext() if out.is_terminal else _lines(bar.tasks[0], every_s):
            yield lambda doing, share: bar.update(number, description=cell(doing), completed=share)


@contextlib.contextmanager
def _lines(task: "Task", every_s: float) -> Iterator[None]:
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(every_s):
            left = _left(task)
            say("[dim]{}; {} so far{}[/]", task.description, fmt.duration(task.elapsed), left and f", {left}")

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _left(task: "Task") -> str:
    """As `about 12s left`, if the rest takes what its share says; longer while a part takes longer than usual."""
    done = task.percentage / 100
    return f"about {fmt.duration((1 - done) / done * task.elapsed)} left" if done and task.elapsed else ""
