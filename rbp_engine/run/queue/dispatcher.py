"""The dispatcher: `python -m rbp_engine.run.queue.dispatcher`. One process per user and host, as long as it has work.

It starts queued runs in order when devices are free. When a run ends, it releases the devices and runs the hooks, or
restarts the run after a fault if retries are left. All its state is in files (`run/queue/entries.py`,
`run/queue/claims.py`, and the runs themselves), so that a killed dispatcher can be replaced at any moment.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from rbp_engine import os_process
from rbp_engine.printable import one_line, visible
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import write_json
from rbp_engine.run.files.run_json import FaultRecord, add_fault, read_run_json
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.queue import claims
from rbp_engine.run.queue.entries import DamagedEntry, Entry, entries, read_queue, write_entry
from rbp_engine.run.queue.gpus import read_cards
from rbp_engine.run.queue.host_lock import host_directory, locked, try_lock
from rbp_engine.run.queue.transitions import WAITS, drop, mark_failed, mark_queued
from rbp_engine.run.status import processes
from rbp_engine.run.status.retryable import has_failed, is_infrastructure_fault
from rbp_engine.run.status.status import Verdict, judge

POLL_S = 0.5
# A fault of the machine gets a moment to pass.
RETRY_AFTER_S = 5.0
# A run whose starter failed (a full disk, say) gets another one after this time.
START_AGAIN_S = 30.0
# A missing runs directory may be on a disk that is mounted again.
GONE_FOR_GOOD_S = 60.0
READ_CARDS_EVERY_S = 2.0
LARGEST_LOG = 2**20


class Dispatcher:
    """Its attributes are only caches: a new dispatcher works without them."""

    def __init__(self) -> None:
        self._starters: dict[Path, subprocess.Popen[bytes]] = {}
        self._hooks: list[subprocess.Popen[bytes]] = []
        self._tried: dict[Path, float] = {}
        self._missing: dict[Path, float] = {}
        self._logged: dict[Path, str] = {}
        self._cards_read = -READ_CARDS_EVERY_S
        self._busy_cards: set[str] = set()

    def look(self) -> None:
        """Handle every entry once, in order."""
        self._reap()
        # No overtaking: a later run may not take a device that an earlier one waits for.
        waited_for: set[str] = set()
        for entry in read_queue():
            if isinstance(entry, DamagedEntry):
                self._log(entry.path, entry.id, f"is passed over, its entry is damaged: {entry.why}")
                continue
            try:
                self._handle(entry, waited_for)
            except (OSError, RunError) as error:
                self._log(entry.path, entry.run.id, f"trouble: {error}")

    def _reap(self) -> None:
        """Reap child processes that have ended; otherwise they would stay zombies as long as this one lives."""
        self._hooks = [hook for hook in self._hooks if hook.poll() is None]
        self._starters = {path: starter for path, starter in self._starters.items() if starter.poll() is None}

    def _handle(self, entry: Entry, waited_for: set[str]) -> None:
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
            self._handle_end(entry, verdict)
        elif verdict.status == "lost":  # the process that was starting it has died
            with locked():
                if judge(run) == verdict:
                    mark_queued(run, WAITS)
            self._tried.pop(entry.path, None)
        else:
            self._drop(entry, f"is not started: {verdict.status} {verdict.reason}")

    def _start(self, entry: Entry, waited_for: set[str]) -> None:
        """Claim devices for a queued run and launch its starter, unless one is already running."""
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
        self._log(entry.path, entry.run.id, f"starts on {', '.join(taken) or 'whatever it sees'}")
        self._tried[entry.path] = time.monotonic()
        try:
            self._starters[entry.path] = _helper(entry, "rbp_engine.run.queue.start_queued")
        except OSError as error:  # its Python environment may have been removed
            with locked():
                mark_failed(entry.run, f"it could not be started: {error}")

    def _busy(self, entry: Entry) -> set[str]:
        """The cards on which other processes compute, read at most every READ_CARDS_EVERY_S."""
        if not any(device.name is not None for device in entry.devices):
            return set()
        if time.monotonic() - self._cards_read > READ_CARDS_EVERY_S:
            self._busy_cards = {card.uuid for card in read_cards() if not card.is_free}
            self._cards_read = time.monotonic()
        return self._busy_cards

    def _handle_end(self, entry: Entry, verdict: Verdict) -> None:
        """Restart a run after a fault of the infrastructure; otherwise run its hooks and release its devices."""
        run = entry.run
        if entry.retried < entry.retries and is_infrastructure_fault(run, verdict):
            attempt, why = read_run_json(run).attempt, visible(verdict.reason)
            fault = FaultRecord(attempt, verdict.status, verdict.cause, why, time.time())
            with locked():
                if not entry.path.exists() or judge(run) != verdict:
                    return
                add_fault(run, fault)
                mark_queued(run, f"starts again, {entry.retried + 1} of {entry.retries}, after: {verdict.reason}")
                write_entry(entry.for_retry(RETRY_AFTER_S))
            self._tried.pop(entry.path, None)
            self._log(entry.path, run.id, f"starts again: {verdict.status}, {verdict.reason}")
            return
        names = ["on_end", "on_failure"] if has_failed(run, verdict) else ["on_end"]
        try:
            words = [str(read_run_json(run).attempt), verdict.status, verdict.reason, verdict.cause, *names]
            self._hooks.append(_helper(entry, "rbp_engine.run.queue.hooks", *words))
        except OSError as error:
            self._log(entry.path, run.id, f"trouble with its hooks: {error}")
        self._drop(entry, f"{verdict.status} {verdict.reason}".rstrip())

    def _drop(self, entry: Entry, why: str) -> None:
        self._log(entry.path, entry.run.id, why)
        with locked():
            drop(entry.run)

    def _log(self, path: Path, run_id: str, text: str) -> None:
        """Log a line about a run, unless it is the same as the last one about that run."""
        if self._logged.get(path) != text:
            self._logged[path] = text
            sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {one_line(f'{run_id}: {text}')}\n")
            sys.stdout.flush()


def _helper(entry: Entry, module: str, *words: str) -> "subprocess.Popen[bytes]":
    """Run a module on a run as the user who queued it would, in a process that outlives this one."""
    # Status and reason may come from a file that rbp did not write; some characters cannot be passed to a process.
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
    """Handle the entries until there are none; exit at once if another dispatcher is running."""
    home = host_directory()
    lock = try_lock(home / "dispatcher.lock")
    if lock is None:
        return
    log = home / "dispatcher.log"
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        os.truncate(log, 0)
    with locked():
        write_json(home / "dispatcher.json", {"pid": os.getpid(), "pid_started": os_process.start_time(os.getpid())})
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names and reasons may contain anything
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
        time.sleep(max(POLL_S, 20.0 * took))  # with hundreds of entries, still leave the cores to training


if __name__ == "__main__":
    main()
