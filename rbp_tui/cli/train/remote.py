"""Follow a run of another host: its rbp sends events and state through ssh, and the views of this machine show them.

A connection that is cut is made again, after a pause that grows, and the watch goes on where it was.
"""

import contextlib
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO

from rbp_engine.errors import UserError
from rbp_engine.printable import LONGEST_TEXT, one_line
from rbp_engine.run.store.store import RunRecord
from rbp_engine.settings.machine import Host
from rbp_engine.untrusted_files import parse_json
from rbp_tui.cli.output import fail, say
from rbp_tui.cli.train.following import exit_code
from rbp_tui.cli.train.live import LivePicture, live_on
from rbp_tui.cli.train.views import View, lines_view
from rbp_tui.hosts.records import record_of
from rbp_tui.hosts.ssh import UNREACHABLE, Connection, can_be_asked, command_line, problem
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import short, status_text, title

#: There is a state at least every five seconds.
SILENT_S = 20.0
POLL_S = 0.2
#: ssh ends at once when its output has.
LEAVE_S = 5.0
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
LONGEST_LINE = 4 * 2**20
#: What is read ahead of what is shown, and taken at once: a host that sends without end fills no memory.
AT_ONCE, PARTS_AHEAD = 2**16, 64


class _Cut(Exception):
    """The connection is gone, and the run has not ended."""


class _Refused(Exception):
    """The host's rbp has ended with an exit code of its own, before any run has."""

    def __init__(self, code: int, said: str) -> None:
        self.code = code
        self.said = said
        super().__init__(said)


def follow_there(host: Host, words: Sequence[str], runs: str, *, as_json: bool) -> int:
    """Follow a run of the host to its end, which `words` name; the exit code is the run's, 255 without a connection."""
    watched = _Watched(host, words, runs)
    try:
        record = watched.follow(as_json=as_json)
    except KeyboardInterrupt:
        say("stopped watching; the run goes on")
        return 0
    except _Refused as refused:
        return fail(problem(host, refused.code, refused.said), refused.code)
    if not as_json:
        _say_end(host, record)
    return exit_code(record.verdict)


class _Watched:
    """The run as far as it has come here: `count` of its events, and its newest state."""

    def __init__(self, host: Host, words: Sequence[str], runs: str) -> None:
        self.host = host
        self.count = 0
        self.record: RunRecord | None = None
        self._words = words
        self._runs = runs
        self._picture: LivePicture | None = None
        self._silent = False

    def follow(self, *, as_json: bool) -> RunRecord:
        """Show the run to its end, over as many connections as that takes. Raises _Refused."""
        view: View | None = None
        if as_json or not sys.stdout.isatty():
            view = lines_view(as_json=as_json, several=False)
        tried = 0
        while True:
            before = self.count
            try:
                with self._shown(view) as shown:
                    return self._follow_once(shown, again=tried > 0)
            except _Cut as cut:
                tried = 0 if self.count > before else tried
                pause = PAUSES_S[min(tried, len(PAUSES_S) - 1)]
                tried += 1
                say("[yellow]{}[/]; trying again in {}", str(cut), fmt.duration(pause))
                time.sleep(pause)

    @contextlib.contextmanager
    def _shown(self, view: View | None) -> Iterator[View]:
        """The view for the next connection: that of all of them, or a live picture that goes on."""
        if view is not None:
            yield view
            return
        if self._picture is None:
            self._picture = LivePicture("Ctrl-C leaves; the run goes on")
        with live_on(self._picture):
            yield self._picture

    def _follow_once(self, view: View, *, again: bool) -> RunRecord:
        """Show what comes over one connection, to the end of the run. Raises _Cut, _Refused and UserError."""
        words = [self.record.run.id, *self._words[1:]] if self.record else self._words
        command = command_line(
            self.host,
            ["watch", *words, "--json", "--state", "--skip", str(self.count)],
            ask=can_be_asked(),
            runs=self._runs,
            shared=not self._silent,
        )
        connection = Connection(self.host, command)
        try:
            lines = _Lines(connection.stdout)
            self._silent = False
            heard = time.monotonic()
            pending = again
            patience_s = 0.0
            while True:
                new, open_ = lines.take()
                if new:
                    heard = time.monotonic()
                    if pending:
                        pending = False
                        say("[green]{} is back[/]", self.host.name)
                    self._take(new, view)
                if lines.too_long and not open_:
                    longest = f"{LONGEST_LINE >> 20} MiB"
                    raise UserError(f"{self.host.name} sends a line of more than {longest}, which no rbp does")
                if not open_:
                    patience_s = LEAVE_S
                    break
                if time.monotonic() - heard > SILENT_S:
                    self._silent = True
                    break
        finally:
            code = connection.close(patience_s)
        return self._ended(code, connection.said())

    def _ended(self, code: int, said: str) -> RunRecord:
        """The run, if it is its end that has ended the connection. Raises _Cut and _Refused."""
        if self._silent:
            raise _Cut(f"{self.host.name} has not been heard for {SILENT_S:.0f} s")
        if self.record is None and code:
            raise _Refused(code if code > 0 else UNREACHABLE, said)
        if self.record is not None and not self.record.verdict.live and code not in (UNREACHABLE, -signal.SIGTERM):
            return self.record
        last = one_line(said.splitlines()[-1] if said else "", LONGEST_TEXT)
        raise _Cut(f"the connection to {self.host.name} is lost{f' ({last})' if last else ''}")

    def _take(self, lines: Sequence[bytes], view: View) -> None:
        events = []
        for line in lines:
            state = _state_in(line)
            if state is None:
                events.append(line)
                continue
            self.record = state
            self._show(events, view)
            events = []
        self._show(events, view)

    def _show(self, events: list[bytes], view: View) -> None:
        if self.record is None:
            return
        self.count += len(events)
        view.lines(self.record, events)
        view.show([self.record])


class _Lines:
    """The lines that come over a connection, read in a thread so that silence is noticed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._parts: queue.Queue[list[bytes] | None] = queue.Queue(PARTS_AHEAD)
        self.too_long = False
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def take(self) -> tuple[list[bytes], bool]:
        """What has come within POLL_S, whole lines, and whether more may come."""
        found: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            part = self._parts.get(timeout=POLL_S)
            for _ in range(PARTS_AHEAD):
                if part is None:
                    return found, False
                found += part
                part = self._parts.get_nowait()
            found += part or []
            return found, part is not None
        return found, True

    def _read(self, stream: IO[bytes]) -> None:
        torn = bytearray()  # a line whose end has not come
        with contextlib.suppress(OSError, ValueError):
            while chunk := stream.read1(AT_ONCE):  # type: ignore[attr-defined]  # it is buffered
                first, *others = chunk.split(b"\n")
                torn += first
                if others:
                    *whole, last = others
                    self._parts.put([bytes(torn), *whole])
                    torn = bytearray(last)
                elif len(torn) > LONGEST_LINE:
                    self.too_long = True
                    break
        self._parts.put(None)


def _state_in(line: bytes) -> RunRecord | None:
    """The state in a line; None if it is an event."""
    if not line.startswith(b'{"state"'):
        return None
    try:
        return record_of(parse_json(line)["state"])
    except (ValueError, KeyError):
        return None


def _say_end(host: Host, record: RunRecord) -> None:
    summary, verdict = record.summary, record.verdict
    reason = f": {verdict.reason}" if verdict.reason else ""
    say("{} {} on {}{}", status_text(verdict.shown_status), title(summary), host.name, reason)
    if summary.last.top1 is not None:
        last, best = fmt.percent(summary.last.top1), fmt.percent(summary.best.top1)
        say("  top-1 accuracy: last [bold]{} %[/], best {} % (epoch {})", last, best, summary.best.epoch)
    say("  next: rbp --host {} runs show {}", host.name, short(record.run.id))
