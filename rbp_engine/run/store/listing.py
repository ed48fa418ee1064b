"""The list of all runs, kept up to date by looking at the change times of their files."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from rbp_engine.run.files.annotations import read_annotations
from rbp_engine.run.files.file_memo import Stamp, stamp
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import Verdict, judge
from rbp_engine.run.store.store import RunRecord, in_order_of_creation, is_run, record, run_names, unreadable

JUDGE_LIVE_EVERY_S = 1.0
# A run that is lost may yet be found to have left word; but that takes reading, and its files hardly change any more.
JUDGE_LOST_EVERY_S = 10.0


@dataclass(frozen=True)
class _Known:
    """A run as it was read last, with what its files looked like then.

    `heard` is when it gave its last sign of life, `judged` when its status was found, both by the monotonic clock:
    others may be wrong, so that what a run says of its time counts only when it is first seen.
    """

    record: RunRecord
    summary: Stamp
    annotations: Stamp
    heard: float
    judged: float


class RunList:
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

    def heard(self, name: str) -> float:
        """When a run of the list gave its last sign of life, by the monotonic clock of this host."""
        return self._known[name].heard

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
            if not is_run(run):
                return None
            found = _read(run)
            silence = max(0.0, time.time() - found.summary.updated)
            return _Known(_judged(found, silence), summary, annotations, now - silence, now)
        old = before.record
        unread = not old.readable and now - before.judged >= JUDGE_LOST_EVERY_S
        if summary != before.summary or unread:
            return _Known(_judged(_read(old.run), 0.0), summary, annotations, now, now)
        if annotations != before.annotations:
            noted = replace(old, annotations=read_annotations(old.run))
            before = replace(before, annotations=annotations, record=noted)
        patience = JUDGE_LIVE_EVERY_S if old.verdict.live else JUDGE_LOST_EVERY_S
        if (old.verdict.live or old.verdict.status == "lost") and now - before.judged >= patience:
            before = replace(before, judged=now, record=_judged(before.record, now - before.heard))
        return before


def _stamp(path: str) -> Stamp:
    """What changes whenever the file does; empty where there is none."""
    try:
        return stamp(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (error.errno or -1,)


def _read(run: RunDirectory) -> RunRecord:
    return record(run, lambda _, summary: Verdict(summary.status, summary.reason))


def _judged(known: RunRecord, silence: float) -> RunRecord:
    """The record with its status as of now; its summary has been as it is for `silence` seconds."""
    try:
        verdict = judge(known.run, known.summary, known.summary.updated + silence) if known.readable else known.verdict
    except Exception as error:  # whatever stands in its files, the other runs are listed
        return unreadable(
            known.run, f"its files are damaged, or of another version of rbp: {type(error).__name__}: {error}"
        )
    return known if verdict == known.verdict else replace(known, verdict=verdict)
