"""`rbp --host HOST COMMAND`: the rbp of another machine does the work, through ssh, and what it says is shown here."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from typing import IO

from rbp_engine.errors import UserError
from rbp_engine.printable import Lines
from rbp_engine.settings.machine import Host, find_host
from rbp_tui.cli.log_text import LogText
from rbp_tui.cli.output import COLOURS, console, fail, print_part
from rbp_tui.hosts.ssh import NOT_FOUND, UNREACHABLE, Connection, can_be_asked, command_line, problem

#: Commands that print and end. The others need an editor, a terminal or files of this machine, or measure for long.
PRINTING = frozenset(
    {
        "ls", "logs", "stop", "kill", "queue", "report", "doctor", "cost", "import",
        "runs show", "runs layers", "runs compare", "runs why", "runs tag", "runs note", "runs rm", "runs restore",
        "runs trash", "runs csv", "runs archive", "runs unarchive", "runs disk", "runs prune",
        "runs pack", "runs unpack",
        "presets list", "presets show", "presets check", "presets schema", "presets diff",
        "data list", "data check",
    }
)  # fmt: skip
FOLLOWING = frozenset({"watch", "train", "resume"})
#: Started there as with --detach, and not followed.
STARTING = frozenset({"sweep"})
#: Characters of the ids of what was started there: a host that sends without end fills no memory.
MOST_KEPT = 2**20
_GROUPS = frozenset({"runs", "presets", "data"})
#: With these, `train`, `resume` and `sweep` print and end.
_ENDING = frozenset({"--detach", "--dry-run", "--status", "--slurm", "--help", "-h"})


def run_there(name: str, words: Sequence[str], runs: str = "") -> int:
    """Run a command of the rbp of another host; the exit code is that of the command, 255 if it is not reached."""
    host = find_host(name)
    command = " ".join(words[:2] if words[0] in _GROUPS else words[:1])
    known = PRINTING | FOLLOWING | STARTING
    if command not in known and not {"-h", "--help"} & {*words}:
        there = shlex.join(["ssh", "-t", host.ssh, shlex.join([host.rbp, *words])])
        listed = ", ".join(sorted(known))
        raise UserError(f"rbp --host does not do `rbp {command}`, but {listed}; there itself: {there}")
    if command in STARTING and not {*words} & _ENDING:
        words = [*words, "--detach"]
    if command not in FOLLOWING or {*words} & _ENDING - ({"--detach"} if command == "watch" else set()):
        return Printing(host, words, runs).run()
    from rbp_tui.cli.train.remote import follow_there

    rest = [word for word in words[1:] if word != "--json"]
    as_json = "--json" in words
    if command == "watch":
        return follow_there(host, rest, runs, as_json=as_json)
    started = Printing(host, [command, *rest, "--detach"], runs, kept=True)
    if code := started.run():
        return code
    ids = started.text.split()
    if len(ids) != 1:  # several wait in the queue there
        print_part(Lines(started.text))
        return 0
    return follow_there(host, ids, runs, as_json=as_json)


class Printing:
    """A command on the host whose output is printed as it comes, with its colours and nothing else."""

    def __init__(self, host: Host, words: Sequence[str], runs: str, *, kept: bool = False) -> None:
        """`kept`: its stdout is not printed, but kept as `text`, and its stderr only printed if it fails."""
        self.host = host
        self.text = ""
        self._kept = kept
        self._said = LogText()
        self._command = command_line(host, words, ask=can_be_asked(), variables=_terminal(), runs=runs)

    def run(self) -> int:
        """Run it to its end; its exit code. Ctrl-C ends it as here. Raises UserError for more than there can be."""
        connection = Connection(self.host, self._command, on_said=self._print_said)
        try:
            self._print(connection.stdout)
            code = connection.process.wait()
        finally:
            connection.close()
        said = connection.said()  # all of it has come by then
        if not self._kept or code:
            print_part(self._said.feed(said.encode() if self._kept else b""), stderr=True)
        print_part(self._said.end(), stderr=True)
        if code in (UNREACHABLE, NOT_FOUND):
            return fail(problem(self.host, code, "" if said else "ssh has not said why"), code)
        return code if code >= 0 else 128 - code

    def _print(self, stream: IO[bytes]) -> None:
        text = LogText()
        while chunk := stream.read1(2**16):  # type: ignore[attr-defined]  # it is buffered
            self._show(text.feed(chunk))
        self._show(text.end())

    def _show(self, part: Lines) -> None:
        if self._kept:
            self.text += part
            if len(self.text) > MOST_KEPT:
                raise UserError(f"{self.host.name} sends more than {MOST_KEPT >> 20} MiB in place of a run's id")
        else:
            print_part(part)

    def _print_said(self, chunk: bytes) -> None:
        if not self._kept:
            print_part(self._said.feed(chunk), stderr=True)


def _terminal() -> dict[str, str]:
    """What a command there needs to know of the terminal here: its size and its colours."""
    if not sys.stdout.isatty():
        return {}
    size = shutil.get_terminal_size()
    colours = console().color_system
    return {"COLUMNS": str(size.columns), "LINES": str(size.lines)} | ({COLOURS: colours} if colours else {})
