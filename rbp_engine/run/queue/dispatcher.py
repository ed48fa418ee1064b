"""The dispatcher: `python -m rbp_engine.run.queue.dispatcher`. One process per user and host, as long as it has work.

It starts queued runs in order when devices are free. When a run ends, it runs the hooks, and the devices are free; or
it restarts the run after a fault if retries are left. What it does next is decided in `run/queue/schedule.py`; here it
looks, and takes the steps. All its state is in files (`run/queue/entries.py`, and the runs themselves), so that a
killed dispatcher can be replaced at any moment.
"""

import contextlib
import functools
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rbp_engine.errors import UserError
from rbp_engine.lease import Lease
from rbp_engine.printable import one_line
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import last_attempt, newest_begun
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.queue.devices import Card, Pool, read_cards
from rbp_engine.run.queue.entries import Entry, entry_of, has_entries, holders, read_queue, write_entry
from rbp_engine.run.queue.holds import INHERITED, Holds
from rbp_engine.run.queue.hooks import MODULE as HOOKS
from rbp_engine.run.queue.hooks import given
from rbp_engine.run.queue.host_lock import be_dispatcher, host_directory, locked
from rbp_engine.run.queue.observe import DISPATCHER_LOG, ITSELF, WORKS, DispatcherMemory, QueueLook, job_of
from rbp_engine.run.queue.schedule import RETRY_AFTER_S, Action, JobSchedule, Step
from rbp_engine.run.queue.transitions import WAITS
from rbp_engine.run.status.status import judge, record_verdict

POLL_S = 0.5
READ_CARDS_EVERY_S = 2.0
LARGEST_LOG = 2**20


class Dispatcher:
    """Its attributes are only caches: a new dispatcher works without them."""

    def __init__(self) -> None:
        self._memory = DispatcherMemory()
        self._holds = Holds()
        self._children: list[subprocess.Popen[bytes]] = []
        self._logged: dict[str, str] = {}

    def goes_on(self, lease: Lease) -> bool:
        """Look once; False if there is nothing left to do, and then the lease is anybody's.

        What a disk or a server refuses now, as one in the network does for a while, is tried again in the next look.
        """
        said = WORKS
        try:
            self.look()
            with locked():
                if not has_entries():
                    lease.release()
                    return False
        except (OSError, ImportError, UserError) as error:
            said = f"tries again, it cannot go on: {error}"
        self.log("", ITSELF, said)
        return True

    def look(self) -> None:
        """Look once at everything for which something may have to be done, and do it.

        A pass over thousands of waiting jobs looks at those only that may start now: an entry whose run is no longer
        there, or no longer waits, is found when its turn comes.
        """
        self._children = [child for child in self._children if child.poll() is None]  # else they would stay zombies
        around = QueueLook(lambda: _cards_of(time.monotonic() // READ_CARDS_EVERY_S))
        for one in around.damaged:
            self.log(one.path.name, one.id, f"is passed over, its entry is damaged: {one.why}")
        schedule = JobSchedule(around.world)
        decided: list[tuple[Entry, Action]] = []
        for entry in around.entries:
            pool = around.pool(entry)
            if not entry.claimed and pool.trouble:
                self.log(entry.name, entry.run.id, f"trouble: {pool.trouble}")
            # It has no device, and others have those that it may get: it is not started now, whatever it is.
            if not entry.claimed and pool.devices and not schedule.has_left(device.key for device in pool.devices):
                continue
            try:
                decided.append((entry, schedule.decide(job_of(entry, self._memory, around))))
            except (OSError, RunError) as error:  # and nobody waits for it
                self.log(entry.name, entry.run.id, f"trouble: {error}")
        for entry, action in decided:
            try:
                self._do(action, entry, around)
            except (OSError, RunError) as error:
                self.log(entry.name, entry.run.id, f"trouble: {error}")
        self._holds.keep_only(holders(read_queue()[0]).keys())

    def _do(self, action: Action, entry: Entry, around: QueueLook) -> None:
        """Take the steps of an action, unless the entry or its run has changed since it was looked at."""
        if not action.steps:
            return
        with locked():
            now = entry_of(entry.run)
            if now is None or now.name != entry.name or job_of(now, self._memory, around) != action.job:
                return
            if action.starts and not self._may_have(action, now):
                return
            self._memory.tried.pop(now.name, None)
            for step in action.steps:
                self._take(step, action, now, around.pool(now))
        self.log(entry.name, entry.run.id, _about(action, now))

    def _may_have(self, action: Action, entry: Entry) -> bool:
        """Whether nobody else has the devices of a run that is to start: they are held from now on."""
        taken = holders(read_queue()[0])
        if any(taken.get(key, entry).name != entry.name for key in action.devices):
            return False
        who = self._holds.take(action.devices)
        if who:
            self.log(entry.name, entry.run.id, f"waits for {who}, who was first")
        return not who

    def _take(self, step: Step, action: Action, entry: Entry, pool: Pool) -> None:
        """Take one step of an action on an entry as it was before the first; devices are those of the `pool`."""
        run = entry.run
        match step:
            case Step.CLAIM:
                claimed = tuple(device for device in pool.devices if device.key in action.devices)
                write_entry(replace(entry, claimed=claimed, threads=pool.threads))
            case Step.LAUNCH:
                self._launch(entry, action.devices)
            case Step.RECORD_FAULT:
                record_verdict(run, judge(run))
            case Step.COUNT_RETRY:
                later = time.time() + RETRY_AFTER_S
                write_entry(replace(entry, after=newest_begun(run), retried=entry.retried + 1, not_before=later))
            case Step.MARK_QUEUED:
                write_status(run, "queued", _why_queued(action, entry))
            case Step.RUN_HOOKS:
                self._run_hooks(action, entry)
            case Step.RELEASE:
                write_entry(replace(entry, claimed=()))
            case Step.REMOVE_ENTRY:
                entry.path.unlink(missing_ok=True)

    def _launch(self, entry: Entry, devices: Sequence[str]) -> None:
        self._memory.tried[entry.name] = time.monotonic()
        held = self._holds.descriptors(devices)
        known = {INHERITED: " ".join(map(str, held))} if held else {}
        starter = replace(entry, environment=entry.environment | known)
        try:
            self._children.append(_helper(starter, "rbp_engine.run.queue.start_queued", held=held))
        except OSError as error:  # its Python environment may have been removed
            write_status(entry.run, "failed", f"it could not be started: {error}", Cause.ERROR)

    def _run_hooks(self, action: Action, entry: Entry) -> None:
        verdict = judge(entry.run)
        names = ["on_end", "on_failure"] if action.job.failed else ["on_end"]
        log = f"hook-{action.job.attempt}"  # of an attempt that could not begin, the one before it may have a log
        log += "" if action.job.started else f"-{entry.name.partition('-')[0]}"
        words = [log, verdict.status, given(verdict.reason), verdict.cause, "", *names]
        try:  # a run whose Python is gone has failed, and has hooks, too
            self._children.append(_helper(replace(entry, python=sys.executable), HOOKS, *words))
        except OSError as error:
            self.log(entry.name, entry.run.id, f"trouble with its hooks: {error}")

    def log(self, name: str, about: str, text: str) -> None:
        """Log a line about a run or the dispatcher, unless it is the same as the last one of that `name`."""
        if self._logged.get(name) != text:
            self._logged[name] = text
            with contextlib.suppress(OSError):  # the disk of the log is full; the runs may be on another
                sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {one_line(f'{about}: {text}')}\n")
                sys.stdout.flush()


@functools.lru_cache(maxsize=1)
def _cards_of(_moment: float) -> list[Card]:
    """The cards, read once in a moment, and not in each look. Raises RunError."""
    return read_cards()


def _why_queued(action: Action, entry: Entry) -> str:
    """The reason of a run that waits; `entry` is that of before the action."""
    count = entry.retried + (Step.COUNT_RETRY in action.steps)
    attempt = last_attempt(entry.run)
    if not count or attempt is None or attempt.ended is None:
        return WAITS
    return f"starts again, {count} of {entry.dispatch.retries}, after: {attempt.ended.reason}"


def _about(action: Action, entry: Entry) -> str:
    """What was done, for the log."""
    if action.starts:
        return action.does
    verdict = judge(entry.run)
    return f"{action.does}: {verdict.status} {verdict.reason}".rstrip()


def _helper(entry: Entry, module: str, *words: str, held: Sequence[int] = ()) -> "subprocess.Popen[bytes]":
    """Run a module on a run as the user who queued it would, in a process that outlives this one.

    It inherits the descriptors `held`.
    """
    # Status and reason may come from a file that rbp did not write; some characters cannot be passed to a process.
    code = sys.getfilesystemencoding()
    passed = [word.replace("\0", "").encode(code, "backslashreplace").decode(code) for word in words]
    return subprocess.Popen(
        [entry.python, "-P", "-m", module, str(entry.run.path), *passed],
        cwd=entry.directory if Path(entry.directory).is_dir() else "/",
        env=entry.environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=held,
    )


def main() -> None:
    """Handle the entries until there are none; exit at once if another dispatcher is running."""
    home = host_directory()
    lease = be_dispatcher()
    if lease is None:
        return
    log = home / DISPATCHER_LOG
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        os.truncate(log, 0)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names and reasons may contain anything
    dispatcher = Dispatcher()
    dispatcher.log("", ITSELF, WORKS)
    began = time.process_time()
    try:
        while dispatcher.goes_on(lease):
            took = time.process_time() - began
            time.sleep(max(POLL_S, 20.0 * took))  # with hundreds of entries, still leave the cores to training
            began = time.process_time()
    except Exception as error:  # a fault of rbp's own, which another look would find again
        dispatcher.log("", ITSELF, f"has ended by {type(error).__name__}: {error}; {log} says where")
        raise


if __name__ == "__main__":
    main()
