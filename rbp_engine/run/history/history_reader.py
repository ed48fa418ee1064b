"""Reads the events of a run's ranks as they are written, and folds them into its history."""

import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.files.events import Body, Event
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.history.history import History, HistoryBuilder
from rbp_engine.run.history.rules.alarm_rules import JUDGED, JUDGED_AT_END, alarms, findings
from rbp_engine.run.history.rules.rule import Alarm


class HistoryReader:
    """Follows the events of one run: of all its ranks, or with `first_rank` of rank 0, and of some `kinds` or all.

    What any rank reports of an attempt is folded before the next attempt. `errors` are those of the last call to
    `poll`; one file that cannot be read does not keep the others from being read.
    """

    def __init__(self, run: RunDirectory, *, first_rank: bool = False, kinds: Collection[type[Body]] = ()) -> None:
        self.run = run
        self.errors: list[OSError] = []
        self._first_rank = first_rank
        self._kinds = kinds
        self._readers: dict[Path, EventReader] = {}
        self._waiting: list[Event] = []
        self._builder = HistoryBuilder()

    @property
    def behind(self) -> bool:
        """Whether there is more to read at once."""
        return any(reader.behind for reader in self._readers.values())

    @property
    def skipped_lines(self) -> int:
        """The lines so far that were not events: damaged, or of another version."""
        return sum(reader.skipped_lines for reader in self._readers.values())

    def history(self) -> History:
        """Everything so far."""
        return replace(self._builder.history(), foreign=bool(read_run_json(self.run).program))

    def poll(self, turn_s: float = float("inf")) -> bool:
        """Read what is new, or as much of it as fits into a turn; returns whether there were events."""
        until = time.monotonic() + turn_s
        self.errors = []
        for path in self._files():
            self._readers.setdefault(path, EventReader(path, self._kinds))
        new = False
        while True:
            events = self._next()
            self._builder.add(events)
            new = new or bool(events)
            if not self.behind or time.monotonic() > until:
                return new

    def _files(self) -> list[Path]:
        first = self.run.events()
        return [first] if self._first_rank else sorted(first.parent.glob("rank*.jsonl"))

    def _next(self) -> list[Event]:
        newest = []
        for reader in self._readers.values():
            try:
                events = reader.poll_some()
            except OSError as error:
                self.errors.append(error)
                continue
            # Of the rank of its file alone: what is kept of each rank must not grow with the lines of a hostile file.
            self._waiting += [event for event in events if reader.path.name == f"rank{event.rank}.jsonl"]
            if reader.behind and events:
                newest.append(events[-1].attempt)
        ready, self._waiting = self._waiting, []
        if newest:  # of a rank that is read further than another, later attempts have to wait
            self._waiting = [event for event in ready if event.attempt > min(newest)]
            ready = [event for event in ready if event.attempt <= min(newest)]
        return sorted(ready, key=lambda event: event.attempt) if len(self._readers) > 1 else ready


def read_history(run: RunDirectory, *, first_rank: bool = True, kinds: Collection[type[Body]] = ()) -> History:
    """The history of a run so far, as rank 0 reports it or all do; empty if its events cannot be read."""
    reader = HistoryReader(run, first_rank=first_rank, kinds=kinds)
    reader.poll()
    return reader.history()


def read_alarms(run: RunDirectory) -> tuple[Alarm, ...]:
    """What is wrong with a run at its newest samples; nothing if its events cannot be read."""
    return alarms(read_history(run, kinds=JUDGED))


def read_judged(run: RunDirectory) -> History:
    """The history of a run as far as rules read it, of all its ranks; empty if its events cannot be read."""
    return read_history(run, first_rank=False, kinds=JUDGED_AT_END)


def read_findings(run: RunDirectory) -> tuple[Alarm, ...]:
    """What there is to say about a run that has ended; nothing if its events cannot be read."""
    return findings(read_judged(run))
