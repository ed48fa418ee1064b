"""A followed run as lines of text, for a log."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rbp_engine.printable import LONGEST_TEXT, Line, one_line
from rbp_engine.run.files.events import (
    AlertRaised,
    ErrorRaised,
    Event,
    RunEnd,
    RunStart,
    Validation,
    WarningRaised,
    from_json,
)
from rbp_engine.run.files.layout import short_id
from rbp_engine.run.files.summary import Summary, remaining_s
from rbp_engine.run.phase import Phase
from rbp_engine.run.store.store import RunRecord
from rbp_tui.cli.output import print_line
from rbp_tui.cli.train.place import PhaseClock, place
from rbp_tui.cli.train.views import View
from rbp_tui.text import format as fmt
from rbp_tui.text.alarm_text import alarm_line

if TYPE_CHECKING:
    from rbp_engine.run.history.rules.rule import Alarm

#: No live run is silent for longer.
EVERY_S = 60.0


class PlainLines(View):
    """Lines of text for what a log should keep: starts, epochs, warnings, the end, and where the run is meanwhile.

    Of `several` runs, each line begins with the end of the run's id, what `words` has for that id, as the setting in
    which it differs from the others, and its seed. A run that has had no line for
    `every_s` gets one that says where it is.
    """

    def __init__(self, *, several: bool, words: Mapping[str, str] | None = None, every_s: float = EVERY_S) -> None:
        self._several = several
        self._words = words or {}
        self._every_s = every_s
        self._said: dict[str, float] = {}
        self._clocks: dict[str, PhaseClock] = {}
        self._compiling: set[str] = set()
        self._alarms: dict[str, AlarmWatch] = {}

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        events = [event for line in lines if (event := from_json(line)) is not None]
        new = self._alarms.setdefault(record.run.id, AlarmWatch()).add(events)
        for event in events:
            if isinstance(event.body, RunEnd):
                self._print_alarms(record, event.t, new)
                new = []
            if (text := sentence(event)) is not None:
                self._print(record, event.t, text)
        if events:
            self._print_alarms(record, events[-1].t, new)
        sys.stdout.flush()

    def show(self, records: Sequence[RunRecord]) -> None:
        for record in records:
            run, summary = record.run.id, record.summary
            phase = self._clocks.setdefault(run, PhaseClock()).text(summary)
            if not record.verdict.live:
                continue
            if summary.phase == Phase.COMPILING and run not in self._compiling:
                self._compiling.add(run)
                self._print(record, time.time(), "compiling the neurons: the first step takes longer")
            elif time.monotonic() - self._said.setdefault(run, time.monotonic()) >= self._every_s:
                self._print(record, time.time(), where(summary, phase or record.verdict.reason))
        sys.stdout.flush()

    def _print_alarms(self, record: RunRecord, t: float, alarms: "Sequence[Alarm]") -> None:
        for alarm in alarms:
            self._print(record, t, f"alarm: {alarm_line(alarm)}")

    def _print(self, record: RunRecord, t: float, text: str) -> None:
        word = self._words.get(record.run.id, "")
        names = [short_id(record.summary.id), *([word] if word else []), f"seed {record.summary.seed}: "]
        named = " ".join(names) if self._several else ""
        clock = time.strftime("%H:%M:%S", time.localtime(t))
        print_line(one_line(f"{clock} {named}{text}", LONGEST_TEXT))
        self._said[record.run.id] = time.monotonic()


class AlarmWatch:
    """The alarms of one run as its events come."""

    def __init__(self) -> None:
        from rbp_engine.run.history.history import HistoryBuilder  # imports numpy

        self._builder = HistoryBuilder()
        self._standing: set[tuple[str, str]] = set()

    def add(self, events: Sequence[Event]) -> "list[Alarm]":
        """Add the next events; returns the alarms that were not there before them."""
        from rbp_engine.run.history.rules.alarm_rules import JUDGED, alarms

        known = [event for event in events if isinstance(event.body, JUDGED)]
        if not known:
            return []
        self._builder.add(known)
        found = alarms(self._builder.history())
        new = [alarm for alarm in found if (alarm.rule, alarm.layer) not in self._standing]
        self._standing = {(alarm.rule, alarm.layer) for alarm in found}
        return new


def where(summary: Summary, phase: str) -> str:
    """Where a live run is: epoch, step, loss, speed and the time left, or its `phase` if that is not training."""
    at = place(summary)
    if not at or not summary.step:
        return phase or summary.status
    parts = [at]
    if phase:
        parts.append(phase)
    if summary.train.loss is not None:
        parts.append(f"loss {fmt.number(summary.train.loss)}")
    if summary.samples_per_s is not None:
        parts.append(f"{fmt.thousands(summary.samples_per_s)} samples/s")
    if (left := remaining_s(summary)) is not None:
        parts.append(f"ETA {fmt.duration(left)}")
    return ", ".join(parts)


def sentence(event: Event) -> Line | None:
    """An event as a line of a log, not longer than LONGEST_TEXT; None for those that no log needs."""
    text = _sentence(event)
    return None if text is None else one_line(text, LONGEST_TEXT)


def _sentence(event: Event) -> str | None:
    body = event.body
    if isinstance(body, RunStart):
        verb = f"resumed from {body.resumed_from}" if body.resumed_from else "started"
        processes = f", {body.world_size} processes" if body.world_size > 1 else ""
        planned = [
            fmt.counted(count, what)
            for count, what in ((body.epochs, "epoch"), (body.steps_per_epoch, "step"))
            if count is not None
        ]
        where = f" on {body.device}" if body.device else ""
        return f"{verb}{where}{processes}{': ' if planned else ''}{' of '.join(planned)}"
    if isinstance(body, Validation):
        what = f"epoch {body.epoch}" if body.weights == "last" else f"{body.weights} weights"
        ema = "" if body.ema_top1 is None else f", of the averaged weights {fmt.percent(body.ema_top1)} %"
        return f"{what}: {body.split} loss {fmt.number(body.loss)} top-1 {fmt.percent(body.top1)} %{ema}"
    if isinstance(body, (WarningRaised, AlertRaised, ErrorRaised)):
        return f"{body.kind}: {body.message}"
    if isinstance(body, RunEnd):
        # Of a failure the error before it has said why.
        return f"{body.status}: {body.reason}" if body.reason and body.status != "failed" else body.status
    return None
