"""One thread that reads all runs: summaries by their change time, events of the runs on screen by byte offset."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rbp_engine.run.curves import Curve, CurveBuilder
from rbp_engine.run.events import CheckpointSaved, ErrorRaised, Event, EventReader, RunStart, WarningRaised
from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.status import ENDED, Verdict, judge
from rbp_engine.run.store import RunRecord, run_directories
from rbp_engine.run.summary import Summary, read_summary

LIST_EVERY_S = 0.5
WATCH_EVERY_S = 0.1
ALERTS_KEPT = 200


@dataclass(frozen=True)
class Sight:
    """A run that is on screen, as of a moment."""

    run: RunDirectory
    summary: Summary
    verdict: Verdict
    curves: dict[str, Curve]
    alerts: tuple[Event, ...]
    device: str = ""
    checkpoint_at: float | None = None


@dataclass
class _Watched:
    """What has been read of one run's events."""

    reader: EventReader
    builder: CurveBuilder = field(default_factory=CurveBuilder)
    curves: dict[str, Curve] = field(default_factory=dict)
    alerts: list[Event] = field(default_factory=list)
    device: str = ""
    checkpoint_at: float | None = None
    summary: Summary | None = None
    verdict: Verdict | None = None

    def take(self, events: list[Event]) -> None:
        self.builder.add(events)
        for event in events:
            if isinstance(event.body, (WarningRaised, ErrorRaised)):
                self.alerts.append(event)
            elif isinstance(event.body, CheckpointSaved):
                self.checkpoint_at = event.t
            elif isinstance(event.body, RunStart):
                self.device = event.body.device or ""
        del self.alerts[:-ALERTS_KEPT]
        self.curves = self.builder.curves()


class RunsReader:
    """Reads in a thread of its own and hands over frozen snapshots, only when something has changed."""

    def __init__(
        self, runs: Path, on_list: Callable[[tuple[RunRecord, ...]], None], on_sight: Callable[[Sight], None]
    ) -> None:
        self.runs = runs
        self._on_list = on_list
        self._on_sight = on_sight
        self._wanted: frozenset[str] = frozenset()
        self._watched: dict[str, _Watched] = {}
        self._records: dict[str, tuple[int, RunRecord]] = {}
        self._listed: tuple[RunRecord, ...] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def watch(self, run_ids: Iterable[str]) -> None:
        """Read the events of these runs, and of no others."""
        self._wanted = frozenset(run_ids)

    def _read(self) -> None:
        listed_at = 0.0
        while not self._ended.wait(WATCH_EVERY_S):
            if time.monotonic() - listed_at >= LIST_EVERY_S:
                listed_at = time.monotonic()
                self._list()
            self._look()

    def _list(self) -> None:
        known = {}
        for run in run_directories(self.runs):
            try:
                changed = run.summary_json.stat().st_mtime_ns
            except OSError:
                continue
            before = self._records.get(run.id)
            if before is not None and before[0] == changed and before[1].summary.status in ENDED:
                known[run.id] = before
                continue
            summary = before[1].summary if before is not None and before[0] == changed else read_summary(run)
            if summary is not None:
                known[run.id] = (changed, RunRecord(run, summary, judge(run, summary)))
        self._records = known
        ordered = sorted(known.values(), key=lambda entry: (entry[1].summary.created, entry[1].run.id))
        records = tuple(record for _, record in ordered)
        if records != self._listed:
            self._listed = records
            self._on_list(records)

    def _look(self) -> None:
        wanted = self._wanted
        for gone in set(self._watched) - wanted:
            del self._watched[gone]
        for run_id in wanted:
            run = RunDirectory(self.runs / run_id)
            first = run_id not in self._watched
            watched = self._watched.setdefault(run_id, _Watched(EventReader(run.events())))
            events = watched.reader.poll()
            if events:
                watched.take(events)
            record = self._records.get(run_id)
            if record is None:
                continue
            summary, verdict = record[1].summary, record[1].verdict
            if events or first or summary != watched.summary or verdict != watched.verdict:
                watched.summary, watched.verdict = summary, verdict
                self._on_sight(
                    Sight(
                        run,
                        summary,
                        verdict,
                        watched.curves,
                        tuple(watched.alerts),
                        watched.device,
                        watched.checkpoint_at,
                    )
                )
