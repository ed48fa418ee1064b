"""Ctrl-C and other signals to a command that follows its own runs."""

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from types import FrameType

import typer

from rbp_engine.errors import UserError
from rbp_engine.run import start
from rbp_engine.run.control import kill, request_stop, signal_ranks
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory, short_id
from rbp_engine.run.queue.transitions import withdraw
from rbp_engine.run.status.status import judge
from rbp_tui.cli.output import say
from rbp_tui.cli.train.next_steps import runs_dir_option

CALL_DISPATCHER_EVERY_S = 5.0
ANSWERS = ("l", "s", "k", "")


class AskUser(Exception):
    """Ctrl-C was pressed at a terminal: close the live view and ask what to do."""


class Interrupts:
    """Handle signals to `rbp train` for its runs.

    At a terminal Ctrl-C asks, and in answer to the question it stops the runs, which save; without one it stops them at
    once. A scheduler's SIGTERM, SIGUSR1 or SIGUSR2 is forwarded to the worker, which saves and ends as preempted; a
    queued run leaves the queue.
    """

    def __init__(self, runs: Sequence[RunDirectory]) -> None:
        self.runs = runs
        self.count = 0
        self.signalled: set[RunDirectory] = set()
        self.leaving: signal.Signals | None = None
        self.dispatcher_called_at = 0.0
        self.asking = False
        signal.signal(signal.SIGINT, self._on_interrupt)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self._forward_signal)

    def tick(self) -> None:
        """Act on signals, and keep the dispatcher running. Raises AskUser."""
        if self.leaving is not None:
            # First those that wait: one that saves and ends leaves its device to the next.
            for run in [run for run in self.runs if not withdraw(run)]:
                self._signal(run, self.leaving)
        if time.monotonic() - self.dispatcher_called_at > CALL_DISPATCHER_EVERY_S:
            self.dispatcher_called_at = time.monotonic()
            with contextlib.suppress(UserError):
                start.ensure_dispatcher()
        if not self.count:
            return
        if sys.stdin.isatty() and sys.stdout.isatty():
            raise AskUser
        self._stop()

    def ask(self) -> None:
        """Ask what to do, until a key answers: leave the runs running, stop and save, kill, or go on watching."""
        try:
            with _single_keys():
                # From here on Ctrl-C answers; whoever pressed it twice before has not been told what that means.
                self.count = 0
                say(
                    "[bold]l[/] leave {} running  [bold]s[/] or [bold]Ctrl-C[/] stop and save  "
                    "[bold]k[/] kill  [bold]Enter[/] go on watching",
                    "them" if len(self.runs) > 1 else "it",
                )
                self.asking = True
                if self.count:
                    raise KeyboardInterrupt
                while (answer := _read_answer()) is None:
                    pass
        except (EOFError, KeyboardInterrupt):
            answer = "s"
        finally:
            self.asking, self.count = False, 0
        if answer == "l":
            self._say_it_goes_on()
            raise typer.Exit(0)
        if answer == "k":
            for run in self._live():
                try:
                    kill(run)
                except RunError as error:  # it may have just ended; go on with the others
                    say("[red]{}[/]", error)
        elif answer == "s":
            self._stop()

    def _say_it_goes_on(self) -> None:
        place = runs_dir_option(self.runs[0])
        if len(self.runs) == 1:
            say("it goes on: rbp watch {}{}", short_id(self.runs[0].id), place)
        else:
            say("they go on: rbp ls{}", place)

    def _stop(self) -> None:
        self.count = 0
        for run in self._live():
            request_stop(run)
        say("[yellow]stopping: a checkpoint is saved after this step[/]")

    def _live(self) -> list[RunDirectory]:
        return [run for run in self.runs if judge(run).live]

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.asking:
            self.asking = False  # a third must not keep the terminal from being put back
            raise KeyboardInterrupt

    def _forward_signal(self, number: int, frame: FrameType | None) -> None:
        self.leaving = signal.Signals(number)
        self.signalled.clear()
        if len(self.runs) == 1:  # of several, `tick` has those leave the queue that wait, before the others end
            self._signal(self.runs[0], self.leaving)

    def _signal(self, run: RunDirectory, number: signal.Signals) -> None:
        """Forward a signal to the worker of a run, once."""
        if run not in self.signalled and signal_ranks(run, number):
            self.signalled.add(run)


@contextlib.contextmanager
def _single_keys() -> Iterator[None]:
    """Have the terminal hand over each key at once, none of those that were pressed before, and show none."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _read_answer() -> str | None:
    """The answer that is pressed, "" for Enter; None for another key.

    It looks again and again: a read notices a Ctrl-C just before its wait only when the next key is pressed.
    """
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        pass
    typed = os.read(sys.stdin.fileno(), 64)
    if not typed:
        raise EOFError
    keys = [] if typed.startswith(b"\x1b") else typed.decode(errors="replace").lower()  # F4 is ESC O S
    return next((key.strip() for key in keys if key.strip() in ANSWERS), None)
