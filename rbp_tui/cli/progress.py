"""The progress of a long command on stderr: what it does now, and for how long."""

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
    shows them and about how long the rest takes, else a line every `every_s` seconds.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    end_on_sigterm()
    say("[dim]{}[/]", what)
    out = console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(8, table_column=Column(min_width=4)),
        TimeRemainingColumn(compact=True, table_column=Column(min_width=5)),
        TextColumn("left", table_column=Column(min_width=4)),
    )
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        number = bar.add_task("starting", total=1.0)
        with contextlib.nullcontext() if out.is_terminal else _lines(bar.tasks[0], every_s):
            yield lambda doing, share: bar.update(number, description=cell(doing), completed=share)


@contextlib.contextmanager
def _lines(task: "Task", every_s: float) -> Iterator[None]:
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(every_s):
            say("[dim]{}; {} so far[/]", task.description, fmt.duration(task.elapsed))

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
