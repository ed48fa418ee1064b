"""The dispatcher: `python -m rbp_engine.run.queue.dispatcher`. One process for each user and host, while it has work.

It starts queued runs when devices are free, in their order, and sees to the end of runs that it watches over: devices
given back, hooks run, started again after a fault where that was asked for. All that it knows is in files
(`run/queue/entries.py`, `run/queue/claims.py`, and the runs themselves), so that one that is killed can be replaced at
any moment.
"""

import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from rbp_engine import os_process
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.description import faults_in
from rbp_engine.run.files.layout import read_json, write_json
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.queue import claims
from rbp_engine.run.queue.entries import DamagedEntry, Entry, attempts_of, entries, read_queue, write_entry
from rbp_engine.run.queue.gpus import read_cards
from rbp_engine.run.queue.host_lock import host_directory, locked, try_lock
from rbp_engine.run.queue.transitions import WAITS, drop, put_off, refuse
from rbp_engine.run.status import processes
from rbp_engine.run.status.retryable import has_failed, is_infrastructure_fault
from rbp_engine.run.status.status import Verdict, judge

POLL_S = 0.5
# What was wrong with the machine should have a moment to pass.
RETRY_AFTER_S = 5.0
# A starter that did not start its run (a full disk) is sent again.
START_AGAIN_S = 30.0
# A runs directory that is gone may be on a disk that comes back.
GONE_FOR_GOOD_S = 60.0
READ_CARDS_EVERY_S = 2.0
LARGEST_LOG = 2**20


class Dispatcher:
    """What it remembers between two looks is only what it can do without."""

    def __init__(self) -> None:
        self._starters: dict[Path, subprocess.Popen[bytes]] = {}
        self._hooks: list[subprocess.Popen[bytes]] = []
        self._tried: dict[Path, float] = {}
        self._missing: dict[Path, float] = {}
        self._told: dict[Path, str] = {}
        self._cards_read = -READ_CARDS_EVERY_S
        self._busy_cards: set[str] = set()

    def look(self) -> None:
        """Look after every entry once, in their order."""
        self._reap()
        # Who comes later does not overtake: what an earlier run waits for, no later one may take.
        waited_for: set[str] = set()
        for entry in read_queue():
            if isinstance(entry, DamagedEntry):
                self._say(entry.path, entry.id, f"is passed over, its entry is damaged: {entry.why}")
                continue
            try:
                self._look_after(entry, waited_for)
            except (OSError, RunError) as error:
                self._say(entry.path, entry.run.id, f"trouble: {error}")

    def _reap(self) -> None:
        """Forget the processes that have ended, which would be zombies as long as this one lives."""
        self._hooks = [hook for hook in self._hooks if hook.poll() is None]
        self._starters = {path: starter for path, starter in self._starters.items() if starter.poll() is None}

    def _look_after(self, entry: Entry, waited_for: set[str]) -> None:
        run = entry.run
        if read_summary(run) is None:
            removed = run.path.parent.is_dir() and not run.path.exists()
            since = self._missing.setdefault(entry.path, time.monotonic())
            if (removed or time.monotonic() - since > GONE_FOR_GOOD_S) and not processes.processes_of(run):
                self._drop(entry, "its folder is gone")
            return
        self._missing.pop(entry.path, None)
        verdict = judge(run)
        if verdict.status == "queued":
            self._start(entry, waited_for)
        elif verdict.live or processes.processes_of(run):
            return
        elif entry.started:
            self._see_to_the_end(entry, verdict)
        elif verdict.status == "lost":  # whoever was starting it is gone
            with locked():
                if judge(run) == verdict:
                    put_off(run, WAITS)
            self._tried.pop(entry.path, None)
        else:
            self._drop(entry, f"is not started: {verdict.status} {verdict.reason}")

    def _start(self, entry: Entry, waited_for: set[str]) -> None:
        """Claim devices for a queued run and send a starter, unless one is under way."""
        keys = {device.key for device in entry.devices}
        if entry.path in self._starters or time.time() < entry.not_before:
            return
        if time.monotonic() - self._tried.get(entry.path, -START_AGAIN_S) < START_AGAIN_S:
            return
        busy = waited_for | self._busy(entry)
        with locked():
            if not entry.path.exists() or judge(entry.run).status != "queued":
                return
            taken = claims.take(entry.run, [device for device in entry.devices if device.key not in busy], entry.takes)
        if len(taken) < entry.takes:
            waited_for |= keys
            return
        self._say(entry.path, entry.run.id, f"starts on {', '.join(taken) or 'whatever it sees'}")
        self._tried[entry.path] = time.monotonic()
        try:
            self._starters[entry.path] = _helper(entry, "rbp_engine.run.queue.start_queued")
        except OSError as error:  # its environment has been removed, say
            with locked():
                refuse(entry.run, f"it could not be started: {error}")

    def _busy(self, entry: Entry) -> set[str]:
        """The cards on which somebody else computes, as read a moment ago."""
        if not any(device.name is not None for device in entry.devices):
            return set()
        if time.monotonic() - self._cards_read > READ_CARDS_EVERY_S:
            self._busy_cards = {card.uuid for card in read_cards() if not card.is_free}
            self._cards_read = time.monotonic()
        return self._busy_cards

    def _see_to_the_end(self, entry: Entry, verdict: Verdict) -> None:
        """Start a run again after a fault that is not its own; else run its hooks and give its devices back."""
        run = entry.run
        if entry.retried < entry.retries and is_infrastructure_fault(run, verdict):
            fault = {"attempt": attempts_of(run), "t": time.time()} | asdict(verdict)
            with locked():
                if not entry.path.exists() or judge(run) != verdict:
                    return
                described = read_json(run.run_json)
                write_json(run.run_json, described | {"faults": [*faults_in(described), fault]})
                put_off(run, f"starts again, {entry.retried + 1} of {entry.retries}, after: {verdict.reason}")
                write_entry(entry.again(RETRY_AFTER_S))
            self._tried.pop(entry.path, None)
            self._say(entry.path, run.id, f"starts again: {verdict.status}, {verdict.reason}")
            return
        names = ["on_end", "on_failure"] if has_failed(run, verdict) else ["on_end"]
        try:
            words = [str(attempts_of(run)), verdict.status, verdict.reason, verdict.cause, *names]
            self._hooks.append(_helper(entry, "rbp_engine.run.queue.hooks", *words))
        except OSError as error:
            self._say(entry.path, run.id, f"trouble with its hooks: {error}")
        self._drop(entry, f"{verdict.status} {verdict.reason}".rstrip())

    def _drop(self, entry: Entry, why: str) -> None:
        self._say(entry.path, entry.run.id, why)
        with locked():
            drop(entry.run)

    def _say(self, path: Path, run_id: str, text: str) -> None:
        """A line for the log about the run of an entry, once as long as nothing else happens to the run."""
        if self._told.get(path) != text:
            self._told[path] = text
            sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {run_id}: {text}\n")
            sys.stdout.flush()


def _helper(entry: Entry, module: str, *words: str) -> "subprocess.Popen[bytes]":
    """Do something with a run as whoever put it into the queue would, in a process that outlives this one."""
    # Status and reason may be a stranger's words, and not every character can be passed to a process.
    code = sys.getfilesystemencoding()
    passed = [word.replace("\0", "").encode(code, "backslashreplace").decode(code) for word in words]
    return subprocess.Popen(
        [entry.python, "-P", "-m", module, str(entry.run.path), *passed],
        cwd=entry.directory if Path(entry.directory).is_dir() else "/",
        env=entry.environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def main() -> None:
    """Look after the entries until there are none; leave at once where another dispatcher does so already."""
    home = host_directory()
    lock = try_lock(home / "dispatcher.lock")
    if lock is None:
        return
    log = home / "dispatcher.log"
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        os.truncate(log, 0)
    with locked():
        write_json(home / "dispatcher.json", {"pid": os.getpid(), "pid_started": os_process.start_time(os.getpid())})
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # the log tells of any name and reason
    dispatcher = Dispatcher()
    while True:
        began = time.monotonic()
        dispatcher.look()
        took = time.monotonic() - began
        with locked():
            if not entries():
                (home / "dispatcher.json").unlink()
                os.close(lock)
                return
        time.sleep(max(POLL_S, 20.0 * took))  # hundreds of runs may wait, and the cores are for training


if __name__ == "__main__":
    main()
