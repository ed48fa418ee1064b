"""The list of all runs, kept up to date by looking at the change times of their files."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.annotations import read_annotations
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.status.status import Verdict, judge
from rbp_engine.run.store.store import RunRecord, in_order_of_creation, is_run, run_names, unreadable

JUDGE_LIVE_EVERY_S = 1.0
# A run that is lost may yet be found to have left word; but that takes reading, and its files hardly change any more.
JUDGE_LOST_EVERY_S = 10.0

Stamp: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class _Known:
    """A run as it was read last, with what its files looked like then.

    `seen` is when its summary was last seen to be new, `beats` whether that was a change and not the first sight;
    `judged` is when its status was. Both are moments of the monotonic clock.
    """

    record: RunRecord
    summary: Stamp
    annotations: Stamp
    seen: float
    judged: float
    beats: bool


class RunListing:
    """Reads what has changed since it was asked last; runs that have ended are neither read nor judged again."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._known: dict[str, _Known] = {}
        self._records: tuple[RunRecord, ...] = ()

    def all(self) -> tuple[RunRecord, ...]:
        """All runs, oldest first. Raises RunError where the runs directory cannot be read."""
        names = run_names(self.runs)
        return self._take({name: known for name in names if (known := self._look(name)) is not None})

    def live(self) -> tuple[RunRecord, ...]:
        """The same list, but only the runs that are live in it are looked at again."""
        live = [name for name, known in self._known.items() if known.record.verdict.live]
        return self._take(self._known | {name: now for name in live if (now := self._look(name)) is not None})

    def _take(self, known: dict[str, _Known]) -> tuple[RunRecord, ...]:
        if known != self._known:
            self._known = known
            self._records = tuple(in_order_of_creation(one.record for one in known.values()))
        return self._records

    def _look(self, name: str) -> _Known | None:
        """A run as it is now; None if there is none of that name any more."""
        folder, now = f"{self.runs}/{name}", time.monotonic()
        summary, annotations = _stamp(f"{folder}/summary.json"), _stamp(f"{folder}/annotations.json")
        before = self._known.get(name)
        if before is None or not summary:
            run = RunDirectory(self.runs / name)
            return _Known(_read(run, beats=False), summary, annotations, now, now, beats=False) if is_run(run) else None
        old = before.record
        unread = not old.readable and now - before.judged >= JUDGE_LOST_EVERY_S
        if summary != before.summary or unread:
            return _Known(_read(old.run, beats=True), summary, annotations, now, now, beats=True)
        if annotations != before.annotations:
            noted = replace(old, annotations=read_annotations(old.run))
            before = replace(before, annotations=annotations, record=noted)
        patience = JUDGE_LIVE_EVERY_S if old.verdict.live else JUDGE_LOST_EVERY_S
        if (old.verdict.live or old.verdict.status == "lost") and now - before.judged >= patience:
            judged = _judged(before.record, now - before.seen, beats=before.beats)
            before = replace(before, judged=now, record=judged)
        return before


def _stamp(path: str) -> Stamp:
    """What changes whenever the file does; empty where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  # a Path takes twice as long, and there are thousands
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (error.errno or -1,)
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(run: RunDirectory, *, beats: bool) -> RunRecord:
    try:
        summary = load_summary(run)
        unjudged = RunRecord(run, summary, Verdict(summary.status, summary.reason), read_annotations(run))
    except RunError as error:
        return unreadable(run, str(error))
    return _judged(unjudged, 0.0, beats=beats)


def _judged(record: RunRecord, silence: float, *, beats: bool) -> RunRecord:
    """The record with its status as of now; its summary has been as it is for `silence` seconds.

    Clocks may be wrong, and other hosts have others: of a run that was seen to change (`beats`), the silence counts
    from the moment that it has written itself, whatever the clock here says.
    """
    moment = record.summary.updated + silence
    try:
        verdict = judge(record.run, record.summary, moment if beats else max(moment, time.time()))
    except Exception as error:  # whatever stands in its files, the other runs are listed
        return unreadable(
            record.run, f"its files are damaged, or of another version of rbp: {type(error).__name__}: {error}"
        )
    return record if verdict == record.verdict else replace(record, verdict=verdict)
