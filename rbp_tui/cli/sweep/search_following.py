"""Follow a search to the end of the process that drives it."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from rbp_engine.plan.driving import SearchEnd, driver_of, end_of, stop_driver
from rbp_engine.plan.search import Search
from rbp_engine.plan.study import TrialState
from rbp_engine.plan.trials import TrialReader, TrialRun, plan_so_far
from rbp_engine.printable import in_json, one_line
from rbp_engine.report.sweep_table import sweep_rows
from rbp_engine.run.files.layout import RunDirectory
from rbp_tui.cli.output import console, print_line, say
from rbp_tui.cli.sweep.search_text import plain_trial, trial_line
from rbp_tui.cli.sweep.text import sweep_table
from rbp_tui.cli.train.interrupts import AskUser, Interrupts
from rbp_tui.cli.train.live import with_hint

POLL_S = 0.5
# Above the table are the command and the plan, below it the hint.
ROOM_FOR_OTHERS = 10
HINT = "Ctrl-C: leave the search running, stop and save, or kill"
Show = Callable[[list[TrialRun]], None]


class SearchInterrupts(Interrupts):
    """Signals to a command that follows a search: to stop its runs means to stop the search."""

    def __init__(self, search: Search, reader: TrialReader) -> None:
        super().__init__([])
        self.search = search
        self.reader = reader

    def _say_it_goes_on(self) -> None:
        say("the search goes on: the same command follows it, and with --status shows how far it is")

    def _live(self) -> list[RunDirectory]:
        stop_driver(self.search)  # first, or it would replace the runs by others
        self.runs = [one.record.run for one in self.reader.read()]
        return super()._live()

    def _forward_signal(self, number: int, frame: FrameType | None) -> None:
        self._live()
        super()._forward_signal(number, frame)


def follow_search(search: Search, reader: TrialReader, *, as_json: bool) -> SearchEnd | None:
    """Show the trials until the search has ended, and return how; None if the process that drives it was killed.

    On a terminal this is the table that fills, else a line for each trial that has ended.
    """
    interrupts = SearchInterrupts(search, reader)
    while True:
        try:
            if as_json or not sys.stdout.isatty():
                return _follow(search, reader, interrupts, _lines(search, as_json=as_json))
            with _live_table(search) as show:
                return _follow(search, reader, interrupts, show)
        except AskUser:
            interrupts.ask()


def _follow(search: Search, reader: TrialReader, interrupts: SearchInterrupts, show: Show) -> SearchEnd | None:
    while True:
        # Looked for before the trials are read: what it did before its end is then shown.
        driver = driver_of(search)
        trials = reader.read()
        show(trials)
        if driver is None and not any(one.record.verdict.live for one in trials):
            return end_of(search)
        interrupts.tick()
        time.sleep(POLL_S)


def _lines(search: Search, *, as_json: bool) -> Show:
    shown: set[int] = set()

    def show(trials: list[TrialRun]) -> None:
        for one in trials:
            if one.trial.state is not TrialState.OPEN and one.trial.number not in shown:
                shown.add(one.trial.number)
                text = in_json(json.dumps(plain_trial(one))) if as_json else trial_line(one, search)
                print_line(one_line(text))
        sys.stdout.flush()

    return show


@contextlib.contextmanager
def _live_table(search: Search) -> Iterator[Show]:
    """The table, redrawn in place; it makes room for the last one, which is printed."""
    from rich.live import Live

    with Live(console=console(), auto_refresh=False, transient=True) as live:

        def show(trials: list[TrialRun]) -> None:
            plan, states = plan_so_far(search, trials)
            drawn = sweep_table(plan, sweep_rows(plan, states), most=live.console.height - ROOM_FOR_OTHERS)
            live.update(with_hint(drawn, HINT), refresh=True)

        yield show
