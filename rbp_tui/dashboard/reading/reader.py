"""One thread that reads all runs: summaries by their change time, events of the runs on screen by byte offset."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from textual.message import Message

from rbp_engine.errors import UserError
from rbp_engine.run.files.energy import Energy, read_energy
from rbp_engine.run.files.evaluation_json import Evaluation, read_evaluation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.history.history import History
from rbp_engine.run.history.history_reader import HistoryReader
from rbp_engine.run.history.rules.alarm_rules import alarms, findings
from rbp_engine.run.history.rules.rule import Alarm
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.listing import RunList
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.sparklines import Trend, TrendReader
from rbp_tui.dashboard.reading.watcher import Watcher
from rbp_tui.text.format import counted

TICK_S = 0.1
LIST_EVERY_S = 0.5
TRENDS_EVERY_S = 1.0
# On a slow file system looking at all runs takes long: it may not take more than this part of the time.
LISTING_SHARE = 0.05
# A long file is read in turns of this length, so that other runs are not waited for.
TURN_S = 0.05
# The list is handed over at once, but not twice within this time: a table of many rows is not drawn for nothing.
LIST_HAND_OVER_S = 0.5
# A run of which there is more to read at once is handed over this often, to show that something happens.
BEHIND_HAND_OVER_S = 1.0


@dataclass(frozen=True)
class Sight:
    """A run that is on screen, as of a moment.

    `problem` says what of its files could not be read, empty if nothing; `kept` has the checkpoints that are there.
    `judged` is what rules say of a live run's newest samples; of one that has ended also of its end.
    `energy` is None if it was not measured; `evaluation` is empty if there was none. `heard` is when the run gave its
    last sign of life, by the monotonic clock.
    """

    run: RunDirectory
    summary: Summary
    verdict: Verdict
    history: History
    problem: str = ""
    kept: frozenset[str] = frozenset()
    judged: tuple[Alarm, ...] = ()
    energy: Energy | None = None
    evaluation: Evaluation = field(default_factory=Evaluation)
    heard: float = 0.0


@dataclass
class RunsListed(Message):
    """All runs, oldest first. Of several pending messages only the newest is handled."""

    records: tuple[RunRecord, ...]

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunsListed)


@dataclass
class TrendsRead(Message):
    """New validations of those runs in the list that have some."""

    trends: dict[str, Trend]


@dataclass
class ProblemMet(Message):
    """A message about something that could not be read; each is posted once."""

    problem: str


@dataclass
class RunSeen(Message):
    """New events or a new state of a run on screen. Of several pending ones per run only the newest is handled."""

    sight: Sight

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunSeen) and message.sight.run.id == self.sight.run.id


class _Watched:
    """What has been read of one run's events, and what of it was handed over."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._handed: Sight | None = None
        self._handed_at = float("-inf")
        self.events = HistoryReader(run)
        self._fresh = True

    def news(self, record: RunRecord | None, heard: float, now: float) -> Sight | None:
        """Read what is new, or as much of it as one turn allows: the run as of now.

        None if that is nothing new, if more of it is about to be read, or if the run is not listed.
        """
        problem = self._read()
        if record is None:
            self._handed = None  # if it comes back from the trash it is news
        old = self._handed
        if record is None or (self.events.behind and now - self._handed_at < BEHIND_HAND_OVER_S):
            return None
        found = read_energy(self.run), read_evaluation(self.run)
        state = (record.summary, record.verdict, problem, *found)
        if not self._fresh and old and state == (old.summary, old.verdict, old.problem, old.energy, old.evaluation):
            return None
        self._fresh, self._handed_at = False, now
        history = self.events.history()
        self._handed = Sight(
            self.run,
            record.summary,
            record.verdict,
            history,
            problem,
            self._kept(),
            alarms(history) if record.verdict.live else findings(history),
            *found,
            heard,
        )
        return self._handed

    def _read(self) -> str:
        """Read on, and say what of the files cannot be read; empty if nothing."""
        try:
            self._fresh = self.events.poll(TURN_S) or self._fresh
            errors: list[Exception] = [*self.events.errors]
        except Exception as error:  # whatever stands in the files of this run, the others are read
            errors = [error]
        why = [getattr(error, "strerror", None) or error for error in errors]
        return f"events cannot be read: {why[0]}" if why else self._skipped_lines()

    def _kept(self) -> frozenset[str]:
        try:
            return frozenset(path.name for path in self.run.checkpoints.iterdir())
        except OSError:  # a folder that is not there, or may not be looked into
            return frozenset()

    def _skipped_lines(self) -> str:
        lines = counted(count, "line") if (count := self.events.skipped_lines) else ""
        return lines and f"{lines} of its events left out: damaged, or of another version of rbp"


class RunsReader(Watcher):
    """Reads in a thread of its own and posts frozen snapshots, only when something has changed.

    What it cannot read is posted in words, every problem once.
    """

    def __init__(
        self,
        runs: Path,
        post: Callable[[Message], object],
        complete: Callable[[tuple[RunRecord, ...]], tuple[RunRecord, ...]] = lambda records: records,
    ) -> None:
        """`complete` adds to the records what others know of the runs."""
        super().__init__("reader")
        self.runs = runs
        self._post = post
        self._complete = complete
        self._wanted: frozenset[str] = frozenset()
        self._shown: tuple[str, ...] = ()
        self._watched: dict[str, _Watched] = {}
        self._listing = RunList(runs)
        self._records: dict[str, RunRecord] = {}
        self._listed: tuple[RunRecord, ...] | None = None
        self._listed_at = self._handed_at = self._trends_at = float("-inf")
        self._listing_took = 0.0
        self._trends = TrendReader(runs)
        self._reported: set[str] = set()

    def watch(self, run_ids: Iterable[str]) -> None:
        """Read the events of these runs, and of no others."""
        self._wanted = frozenset(run_ids)
        self._wake.set()

    def follow_trends(self, run_ids: Iterable[str]) -> None:
        """Read the validations of these runs, and of no others."""
        shown = tuple(run_ids)
        if shown != self._shown:
            self._shown = shown
            self._trends_at = float("-inf")
            self._wake.set()

    def _look(self) -> float:
        more = False
        for look in (self._list, self._look_at_runs, self._look_at_trends):
            try:
                more = look() or more
            except UserError as error:
                self._report(str(error))
            except Exception as error:  # a thread that has died would leave the screens as they are, in silence
                self._report(f"the reader of runs met a fault of its own: {type(error).__name__}: {error}")
        return 0.0 if more else TICK_S

    def _report(self, problem: str, about: str = "") -> None:
        """Hand over what is wrong, once for each run."""
        if (about or problem) not in self._reported:
            self._reported.add(about or problem)
            self._post(ProblemMet(problem))

    def _list(self) -> bool:
        now = time.monotonic()
        if now - self._listed_at >= max(LIST_EVERY_S, self._listing_took / LISTING_SHARE):
            self._listed_at = now
            records = self._listing.all()
            self._listing_took = time.monotonic() - now
        else:
            records = self._listing.live()
        records = self._complete(records)
        self._records = {record.run.id: record for record in records}
        if records != self._listed and now - self._handed_at >= LIST_HAND_OVER_S:
            self._listed = records
            self._handed_at = now
            self._post(RunsListed(records))
            self._report_unreadable(records)
        return False

    def _report_unreadable(self, records: Iterable[RunRecord]) -> None:
        new = [record for record in records if not record.readable and record.run.id not in self._reported]
        self._reported |= {record.run.id for record in new}
        if len(new) == 1:
            self._post(ProblemMet(f"{new[0].run.id} cannot be read: {new[0].verdict.reason}"))
        elif new:
            many = f"{len(new)} runs cannot be read; the filter status:unreadable shows them and why"
            self._post(ProblemMet(many))

    def _look_at_runs(self) -> bool:
        wanted = self._wanted
        for gone in set(self._watched) - wanted:
            del self._watched[gone]
        for run_id in wanted:
            watched = self._watched.setdefault(run_id, _Watched(RunDirectory(self.runs / run_id)))
            record = self._records.get(run_id)
            heard = 0.0 if record is None else self._listing.heard(run_id)
            sight = watched.news(record, heard, time.monotonic())
            if sight is not None:
                self._post(RunSeen(sight))
                if sight.problem:
                    self._report(f"{run_id}: {sight.problem}", about=run_id)
        return any(watched.events.behind for watched in self._watched.values())

    def _look_at_trends(self) -> bool:
        now = time.monotonic()
        if now - self._trends_at < TRENDS_EVERY_S:
            return False
        changed, more = self._trends.read(self._shown, TURN_S)
        if changed:
            self._post(TrendsRead(changed))
        if not more:
            self._trends_at = now
        return more
