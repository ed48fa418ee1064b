"""The daily commands on a run: watch, logs, stop, kill, resume."""

import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbp_engine.printable import keep_colours
from rbp_tui.cli import completion
from rbp_tui.cli.log_text import LogText
from rbp_tui.cli.options import Detach, FromScratch, Gpus, Inexact, Json, Nproc, Retries, RunsDir, given_options
from rbp_tui.cli.output import print_json, print_part, say
from rbp_tui.cli.runs.choice import LiveRun, ResumableRun, Run, find
from rbp_tui.cli.settings_command import SettingsCommand
from rbp_tui.cli.trust import Trust, once_trusted

if TYPE_CHECKING:
    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.status.status import Verdict


MOST_AT_ONCE = 4 * 2**20  # bytes of a log


def register(app: typer.Typer) -> None:
    app.command(epilog="Example:  rbp watch last")(watch)
    app.command(epilog="Example:  rbp logs 3f2a --follow")(logs)
    app.command(epilog="Example:  rbp stop last && rbp resume last --detach")(stop)
    app.command(epilog="Example:  rbp kill 3f2a")(kill)
    app.command(cls=SettingsCommand, epilog="Examples:  rbp resume last   ·   rbp resume 3f2a epochs=400 --detach")(
        resume
    )


def watch(
    run: Run,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Follow a run, live or from its beginning; Ctrl-C only stops watching. The exit code is the run's."""
    from rbp_tui.cli.train.following import exit_code, follow_live
    from rbp_tui.cli.train.results import print_result

    directory = find(run, runs_dir)
    try:
        (verdict,) = follow_live([directory], as_json=as_json, owner=False)
    except KeyboardInterrupt:
        say("stopped watching; the run goes on")
        raise typer.Exit(0) from None
    if not as_json:
        print_result(directory, verdict)
    raise typer.Exit(exit_code(verdict))


def logs(
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until the run has ended.")] = False,
    rank: Annotated[str, typer.Option(help="Which process of the run; 'launcher' is torchrun itself.")] = "0",
    runs_dir: RunsDir = None,
) -> None:
    """Print what the processes of a run have written: stdout, then stderr; of long ones the last 4 MiB."""
    from rbp_engine.run.errors import RunError
    from rbp_engine.run.files.log_files import log_files, named_folders
    from rbp_engine.run.files.summary import read_summary
    from rbp_engine.run.status.status import judge

    directory = find(run, runs_dir)
    there = log_files(directory, named_folders(directory))
    summary = read_summary(directory)
    if not there and summary is not None and summary.program:
        raise RunError(f"{directory.id} is trained by {summary.program}, whose output goes where it was started")
    if follow and not there and judge(directory).live:
        say("[dim]{} has not started yet: waiting for its log[/]", directory.id)
        while not there and judge(directory).live:
            time.sleep(0.2)
            there = log_files(directory, named_folders(directory))
    if rank not in there:
        raise RunError(f"{directory.id} has no log of rank {rank}; there is {', '.join(there) or 'none'}")
    parts = [_LogPrinter(path) for path in there[rank]]
    try:
        while True:
            live = judge(directory).live
            for part in parts:
                part.print_new()
            if not follow or not live:
                break
            time.sleep(0.2)
    finally:
        for part in parts:
            part.end()


def stop(run: LiveRun, trust: Trust = False, runs_dir: RunsDir = None, as_json: Json = False) -> None:
    """Let a run finish its step, save a checkpoint and end; waits for its end."""
    from rbp_engine.run import control

    directory = find(run, runs_dir)

    def asked() -> None:
        if not as_json:
            say("[dim]asked {} to stop[/]", directory.id)

    verdict = once_trusted(lambda: control.stop(directory, on_asked=asked), trust=trust)
    _report(directory, verdict, as_json=as_json)


def kill(run: LiveRun, trust: Trust = False, runs_dir: RunsDir = None, as_json: Json = False) -> None:
    """End every process of a run at once; what came after the last checkpoint is lost."""
    from rbp_engine.run import control

    directory = find(run, runs_dir)
    verdict = once_trusted(lambda: control.kill(directory), trust=trust)
    _report(directory, verdict, as_json=as_json)


def resume(
    run: ResumableRun,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="epochs=N",
            help="Train it longer, also a completed one; guard.max_time=8h gives it a larger budget.",
            show_default=False,
            autocompletion=completion.settings_of_a_resume,
        ),
    ] = None,
    gpus: Gpus = None,
    retries: Retries = None,
    detach: Detach = False,
    nproc: Nproc = None,
    inexact: Inexact = False,
    from_scratch: FromScratch = False,
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Resume a run from its newest checkpoint, exactly where it was, and follow it.

    It uses as many processes as before; a run that came from the queue goes back into it and waits for a device.
    Resume a run on several nodes as you started it, on each of them.

    With epochs=N a longer run goes on from it, RUN-N, and the run itself stays as it is; typed again, RUN-N is resumed.
    The learning rate follows the schedule of N epochs from there on, so the result is not exactly that of a run of N:
    it is another experiment, and every list says so.

    The exit code is that of rbp train.
    """
    from rbp_engine.run import start
    from rbp_engine.run.files.attempts import launched
    from rbp_tui.cli.train.following import follow_started

    directory = find(run, runs_dir)
    options = given_options(gpus=gpus, retries=retries, inexact=inexact, from_scratch=from_scratch)
    if nproc is not None:
        options = replace(options, resources=replace(launched(directory)[0], processes=nproc))
    started = once_trusted(lambda: start.resume(directory, tuple(settings or ()), options), trust=trust)
    raise typer.Exit(follow_started(started, detach=detach, as_json=as_json))


def _report(run: "RunDirectory", verdict: "Verdict", *, as_json: bool) -> None:
    from rbp_tui.text.run_text import status_text

    if as_json:
        print_json({"id": run.id} | asdict(verdict))
    else:
        reason = f": {verdict.reason}" if verdict.reason else ""
        say("{} {}{}", status_text(verdict.shown_status), run.id, reason)


class _LogPrinter:
    """Copies what is new in a log to stdout, with its colours and nothing else that a terminal would obey.

    Of more than MOST_AT_ONCE bytes, the last ones: a log from elsewhere may be of any size.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._text = LogText()

    def print_new(self) -> None:
        from rbp_engine.untrusted_files import NotAFile, open_untrusted
        from rbp_tui.text import format as fmt

        try:
            with open_untrusted(self._path) as file:
                passed_over = file.seek(0, os.SEEK_END) - MOST_AT_ONCE - self._offset
                if passed_over > 0:
                    say("[dim]… {} before this are not shown: {}[/]", fmt.size(passed_over), self._path)
                    self._offset += passed_over
                file.seek(self._offset)
                while chunk := file.read(1 << 20):
                    print_part(self._text.feed(chunk))
                self._offset = file.tell()
        except (FileNotFoundError, NotAFile):
            return

    def end(self) -> None:
        """Print what is left, and go back to the colours of the terminal."""
        print_part(self._text.end())
        if sys.stdout.isatty():
            print_part(keep_colours("\x1b[0m"))
