"""The runs of other hosts, asked for through ssh by a thread each: one that is down or slow holds up nothing.

Nobody can answer a question of ssh here: a host that asks for a password counts as down.
"""

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from textual.message import Message

from rbp_engine.errors import UserError
from rbp_engine.printable import LONGEST_NAME, NO_TEXT, Line, one_line, visible
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.store import RunRecord
from rbp_engine.settings.machine import Host, read_machine
from rbp_engine.untrusted_files import parse_json
from rbp_tui.dashboard.reading.reader import ProblemMet
from rbp_tui.hosts.records import MOST_RUNS, records_of
from rbp_tui.hosts.ssh import begin, problem, said

#: Live runs are among them: they write something every five seconds.
RECENT = "updated>7d"
FIRST_AFTER_S = 1.0  # the first frame comes before
EVERY_S, PATIENCE_S = 10.0, 20.0
PAUSES_S = (30.0, 60.0, 120.0, 300.0)
LARGEST = 2**24


@dataclass(frozen=True)
class HostSight:
    """A host as it was seen last: its recent runs, and when that was, in seconds since the epoch; 0 for never.

    `problem` says why it is down, and `down_since` since when; it is empty while the host answers.
    """

    name: str
    records: tuple[RunRecord, ...] = ()
    seen: float = 0.0
    problem: Line = NO_TEXT
    down_since: float = 0.0


@dataclass
class HostSeen(Message):
    """Another host has answered, or has not."""

    sight: HostSight


class HostsReader:
    """Asks each host of machine.toml again and again, and posts what has come of it."""

    def __init__(self, post: Callable[[Message], object]) -> None:
        self._post = post
        self._ended = threading.Event()
        self._asked: set[subprocess.Popen[bytes]] = set()
        self._cut_off: set[str] = set()  # hosts with more runs than are shown, once that has been said

    def start(self) -> None:
        threading.Thread(target=self._begin, name="hosts", daemon=True).start()

    def stop(self) -> None:
        """Ask nobody any more, and end what is being asked."""
        self._ended.set()
        for process in list(self._asked):
            process.kill()

    def _begin(self) -> None:
        if self._ended.wait(FIRST_AFTER_S):
            return
        try:
            hosts = read_machine().hosts
        except UserError as error:
            self._post(ProblemMet(str(error)))
            return
        for host in hosts.values():
            threading.Thread(target=self._ask_often, args=(host,), name=f"host {host.name}", daemon=True).start()

    def _ask_often(self, host: Host) -> None:
        sight, failures, pause = HostSight(host.name), 0, 0.0
        while not self._ended.wait(pause):
            try:
                records, why = self._ask(host)
            except Exception as error:  # a thread that has died would show the host as it was, in silence
                records, why = (), f"{type(error).__name__}: {error}"
            now = time.time()
            if why:
                down_since = sight.down_since or now
                known = tuple(_as_it_was(record, host) for record in sight.records)
                sight = replace(sight, records=known, problem=one_line(why, LONGEST_NAME), down_since=down_since)
                pause = PAUSES_S[min(failures, len(PAUSES_S) - 1)]
                failures += 1
            else:
                sight, failures, pause = HostSight(host.name, records, now), 0, EVERY_S
            if not self._ended.is_set():
                self._post(HostSeen(sight))

    def _ask(self, host: Host) -> tuple[tuple[RunRecord, ...], str]:
        """The recent runs of a host, and why they could not be had."""
        begun = time.monotonic()
        with begin(host, ["ls", RECENT, "--json"]) as process:
            assert process.stdout is not None and process.stderr is not None
            self._asked.add(process)
            late = threading.Timer(PATIENCE_S, process.kill)
            late.daemon = True
            late.start()
            try:
                content = process.stdout.read(LARGEST + 1)
                if len(content) > LARGEST:
                    process.kill()
                code = process.wait()
            finally:
                late.cancel()
                self._asked.discard(process)
            words = said(process.stderr)
        if time.monotonic() - begun >= PATIENCE_S:
            return (), f"{host.name} has not answered within {PATIENCE_S:.0f} s"
        if code:
            return (), problem(host, code, words)
        try:
            answer = parse_json(content or b"[]", LARGEST)
            if isinstance(answer, list) and len(answer) > MOST_RUNS and host.name not in self._cut_off:
                self._cut_off.add(host.name)
                many = f"{host.name} lists {len(answer)} recent runs; the newest {MOST_RUNS} are shown"
                self._post(ProblemMet(many))
            return tuple(records_of(answer, host.name)), ""
        except ValueError as error:
            return (), f"{host.name} sends what is no list of runs: {error}"


def _as_it_was(record: RunRecord, host: Host) -> RunRecord:
    """A run of a host that is down: whether it is still live is not known."""
    if not record.verdict.live:
        return record
    why = f"it was {record.verdict.status} when {host.name} was last heard"
    return replace(record, verdict=Verdict("stale", visible(why)))
