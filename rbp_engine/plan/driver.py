"""The process that drives a search: `python -m rbp_engine.plan.driver REQUEST`.

It creates the runs of a trial when there is a device for them, stops those that are pruned, and resumes those that were
interrupted. All that it knows is in the files of the runs, so that it can be killed and started again at any moment.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence, Set
from types import FrameType

from rbp_engine.errors import UserError
from rbp_engine.plan.driving import be_driver, files_of, requested_in, write_end
from rbp_engine.plan.search import Search, plan_search
from rbp_engine.plan.start import resume
from rbp_engine.plan.study import SearchTrial, TrialState, Value, propose, pruned_after
from rbp_engine.plan.trials import TrialReader, TrialRun, is_pruned
from rbp_engine.preset import PresetError
from rbp_engine.run import control, start
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError, Taken
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.queue.devices import pool_of_this_machine
from rbp_engine.run.queue.entries import entry_of
from rbp_engine.run.queue.transitions import is_stranded
from rbp_engine.run.store.store import RunRecord

POLL_S = 0.5
CALL_DISPATCHER_EVERY_S = 5.0
# A run whose process is lost again and again is left to its user.
MOST_RESUMES = 3
# After so many trials in a row that have failed, their settings are not what is wrong.
MOST_FAILURES = 5
# Of runs that cannot be resumed.
MOST_NAMED = 5
# Of combinations that contradict each other.
MOST_REFUSED = 100


class SearchDriver:
    """Its attributes are only caches, and what it has done for runs that were interrupted."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.reader = TrialReader(search)
        takes = search.request.options.takes.processes
        pool = pool_of_this_machine(search.request.options.gpus, search.base.preset.run.device, takes)
        self.trials_at_once = len(pool.devices) // takes
        self._resumes: dict[RunDirectory, int] = {}
        self._refused: dict[RunDirectory, str] = {}
        self._judged: dict[int, int] = {}
        self._first_look = True
        self._exhausted = False

    def look(self) -> str:
        """Do what there is to do; returns how the search has ended, "" if it goes on. Raises UserError if it cannot."""
        trials = {one.trial.number: one for one in self.reader.read()}
        if self._first_look and trials and self.trials_at_once == 1:  # it may have ended while there was no driver
            self._judged[max(trials)] = 0
        self._prune(trials)
        busy, left = self._resume(trials)
        self._first_look = False
        if not left:
            self._refuse_failures([one.trial for one in trials.values() if one.trial.number not in busy])
            busy |= self._create({number: one.trial for number, one in trials.items()}, busy)
        if busy:
            return ""
        if left:
            raise RunError(f"{left[0].id} was stopped, and the search with it; the same command goes on")
        refused = [one for one in trials.values() if one.record.run in self._refused]
        ended = f"{len(trials) - len(refused)} of {self.search.trials} trials have ended"
        if self._exhausted:
            ended += ", and no other combination is left"
        return "\nnot resumed: ".join([ended, *self._refused.values()][: 1 + MOST_NAMED])

    def _prune(self, trials: Mapping[int, TrialRun]) -> None:
        """Ask the runs to stop whose scores are too low, by what the other trials had at the same epoch."""
        pruner = self.search.space.pruner
        for number, one in trials.items() if pruner else ():
            found, verdict = one.record, one.record.verdict
            newest = max(one.trial.scores, default=0)
            # One that has ended since the last look is judged, too, so that it does not matter when that was.
            judged = self._judged.get(number)
            if newest == judged or not (verdict.live or (judged is not None and verdict.has_result)):
                continue
            self._judged[number] = newest
            if is_pruned(found):
                continue
            epoch = pruned_after(self.search.space, [other.trial for other in trials.values()], number, judged or 0)
            if epoch is not None:
                score = one.trial.scores[epoch]
                reason = f"{pruner} pruner: top-1 {100 * score:.2f} % after epoch {epoch}"
                control.request_stop(found.run, Cause.PRUNED, reason)

    def _resume(self, trials: Mapping[int, TrialRun]) -> tuple[set[int], list[RunDirectory]]:
        """Resume what was interrupted; returns the numbers of the trials that go on, and the runs that a user has
        stopped since this driver started, or whose process is lost each time. A run that cannot be resumed, as a
        colleague's, is left as it is."""
        busy: set[int] = set()
        left = []
        for number, one in trials.items():
            found, run, verdict = one.record, one.record.run, one.record.verdict
            if self._first_look and verdict.live and is_stranded(run):
                resume(self.search.request, run)
            # As for the queue: a process without heartbeats, as after a sleep of the machine, has its devices.
            there = verdict.live or verdict.cause is Cause.UNRESPONSIVE
            if there or (self._is_interrupted(found) and self._resumed(found)):
                busy.add(number)
            elif run not in self._refused and self._is_interrupted(found) and verdict.status != "failed":
                left.append(run)
        return busy, left

    def _is_interrupted(self, found: RunRecord) -> bool:
        if found.verdict.status == "failed":
            return self.search.retry_failed and self._first_look
        return not (found.verdict.has_result or is_pruned(found))

    def _resumed(self, found: RunRecord) -> bool:
        """Resume a run, unless a user has stopped it since this driver started; False if it cannot be."""
        run, count = found.run, self._resumes.get(found.run, 0)
        if entry_of(run) is not None:  # the dispatcher is not done with it, and may start it again by itself
            return True
        if not self._first_look and not (found.verdict.cause.is_transient and count < MOST_RESUMES):
            return False
        self._resumes[run] = count + 1
        try:
            resume(self.search.request, run)
        except UserError as refused:
            self._refused[run] = str(refused)
            return False
        return True

    def _refuse_failures(self, trials: Sequence[SearchTrial]) -> None:
        newest = trials[-MOST_FAILURES:]
        if len(newest) == MOST_FAILURES and all(trial.state is TrialState.FAILED for trial in newest):
            raise RunError(
                f"the last {MOST_FAILURES} trials have failed: rbp ls 'sweep:{self.search.name} status:failed'; "
                "--retry-failed resumes them"
            )

    def _create(self, trials: dict[int, SearchTrial], busy: Set[int]) -> set[int]:
        """Create the runs of as many trials as can be trained now; their numbers."""
        created: set[int] = set()
        for number in range(1, self.search.trials + 1):
            if number in trials or number in self.reader.problems:
                continue
            if self._exhausted or len(busy | created) >= self.trials_at_once:
                break
            values = self._proposal([*trials.values()], number)
            if values is None:
                self._exhausted = True
                break
            try:
                start.start_runs(self.search.request_of(number, values))
            except Taken:
                if not os.path.lexists(self.search.run_of(number).path):
                    raise
                # Something else has come there; the next look finds what it is.
            trials[number] = SearchTrial(number, values)
            created.add(number)
        return created

    def _proposal(self, trials: Sequence[SearchTrial], number: int) -> dict[str, Value] | None:
        """The settings of a trial; combinations that contradict each other are passed over, the same ones each time.

        Raises PresetError if there are too many of them.
        """
        refused: list[dict[str, Value]] = []
        while (values := propose(self.search.space, trials, number, refused)) is not None:
            try:
                self.search.request_of(number, values).load()
                return values
            except PresetError:
                refused.append(values)
                if len(refused) > MOST_REFUSED:
                    raise
        return None


def drive(search: Search) -> str:
    """Drive a search to its end; returns how it has ended. Raises UserError if it cannot go on."""
    driver = SearchDriver(search)
    called = -CALL_DISPATCHER_EVERY_S
    while not (ended := driver.look()):
        if time.monotonic() - called > CALL_DISPATCHER_EVERY_S:
            called = time.monotonic()
            start.ensure_dispatcher()
        time.sleep(POLL_S)
    return ended


def main(text: str) -> None:
    """Drive the search that a request as JSON asks for; ends at once if another process does."""
    search = plan_search(requested_in(text))
    if be_driver(search) is None:
        return
    files_of(search).unlink(missing_ok=True)
    try:
        signal.signal(signal.SIGTERM, _stop)
        write_end(search, drive(search))
    except (UserError, SystemExit) as error:
        write_end(search, str(error), failed=True)


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit("the search was stopped; the same command goes on")  # no Exception: nobody takes it for a trial's error


if __name__ == "__main__":
    main(sys.argv[1])
