"""How runs are shown that are being followed: what a view is, and those that only add lines to stdout."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from rbp_engine.printable import in_json, json_line, one_line
from rbp_engine.run.store.store import RunRecord
from rbp_tui.cli.output import print_line
from rbp_tui.cli.runs.choice import as_plain
from rbp_tui.cli.train.plain_lines import PlainLines


class View(Protocol):
    """Shows one run or several while they are followed."""

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        """The events of one of them that have come, as they stand in the file."""

    def show(self, records: Sequence[RunRecord]) -> None:
        """The state of all of them now."""


def lines_view(*, as_json: bool, several: bool, words: Mapping[str, str] | None = None) -> View:
    """A view that only adds to stdout; `words` by id tell several runs apart for readers."""
    if as_json:
        return SeveralJson() if several else JsonLines()
    return PlainLines(several=several, words=words)


class Silence:
    """For all nodes of a run but the first, which shows it."""

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        """Nothing."""

    def show(self, records: Sequence[RunRecord]) -> None:
        """Nothing."""


class JsonLines:
    """The run's events on stdout as they stand in the file, one JSON object a line, control characters escaped.

    The first `skip` are left out.
    """

    def __init__(self, skip: int = 0) -> None:
        self._skip = skip

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        left_out = min(self._skip, len(lines))
        self._skip -= left_out
        for line in lines[left_out:]:
            print_line(json_line(line))
        sys.stdout.flush()

    def show(self, records: Sequence[RunRecord]) -> None:
        """Nothing but events belongs on stdout."""


class StateJson(JsonLines):
    """The same, and between the events {"state": …}: the run as `rbp ls --json` has it, whenever it has changed.

    At the latest after STATE_S, so that the reader knows that it is still connected.
    """

    STATE_S = 5.0
    SOONEST_S = 0.5

    def __init__(self, skip: int = 0) -> None:
        super().__init__(skip)
        self._said = ""
        self._said_at = float("-inf")

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        if not self._said:  # the state comes first: it says which run this is
            self.show([record])
        super().lines(record, lines)

    def show(self, records: Sequence[RunRecord]) -> None:
        for record in records:
            state, now = json.dumps({"state": as_plain(record)}, ensure_ascii=False, default=str), time.monotonic()
            waited = now - self._said_at
            due = waited >= self.SOONEST_S or not record.verdict.live
            if waited >= self.STATE_S or (due and state != self._said):
                self._said, self._said_at = state, now
                print_line(one_line(in_json(state)))
        sys.stdout.flush()


class SeveralJson:
    """The events of all runs on stdout, one JSON object a line, each with the id of its run."""

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                print_line(one_line(in_json(json.dumps({"run": record.run.id} | event, ensure_ascii=False))))
        sys.stdout.flush()

    def show(self, records: Sequence[RunRecord]) -> None:
        """Nothing but events belongs on stdout."""
