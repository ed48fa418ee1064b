"""Follow a run to its end: read its files, and hand what is new to a view."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rbp_engine.run.files.events import EventReader, from_json
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary, read_summary
from rbp_engine.run.status.history import History
from rbp_engine.run.status.status import Verdict, judge

POLL_S = 0.2
# The files of a folder that is being removed go one by one, and the folder last.
REMOVAL_S = 2.0


@dataclass(frozen=True)
class Sight:
    """What can be seen of a run at a moment."""

    run: RunDirectory
    summary: Summary
    verdict: Verdict
    history: History


class View(Protocol):
    """Shows a run that is being followed."""

    def lines(self, lines: list[bytes]) -> None:
        """The events that have come, as they stand in the file."""

    def show(self, sight: Sight) -> None:
        """The state now."""


def follow(run: RunDirectory, view: View, *, tick: Callable[[], None] = lambda: None) -> Verdict:
    """Show a run until it has ended; its verdict. `tick` is called between looks and may raise to leave."""
    reader = EventReader(run.events())
    history = History()
    while True:
        summary = read_summary(run)
        # Judge before reading the events: what was written before the end is then shown before it.
        verdict = judge(run, summary)
        lines = reader.poll_lines()
        history.add(event for line in lines if (event := from_json(line)) is not None)
        view.lines(lines)
        if summary is not None:
            view.show(Sight(run, summary, verdict, history))
        if summary is None and not verdict.live:
            verdict = _judge_after_removal(run)
        if not verdict.live:
            return verdict
        tick()
        time.sleep(POLL_S)


def _judge_after_removal(run: RunDirectory) -> Verdict:
    deadline = time.monotonic() + REMOVAL_S
    while run.path.exists() and time.monotonic() < deadline:
        time.sleep(POLL_S / 10)
    return judge(run)
