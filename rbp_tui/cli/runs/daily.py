"""The daily commands on runs: watch, logs, stop, resume."""

import codecs
import contextlib
import os
import sys
import time
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbp_engine.printable import keep_colours, unfinished
from rbp_engine.settings.machine import runs_directory
from rbp_engine.untrusted_files import NotAFile, open_untrusted
from rbp_tui.cli import completion
from rbp_tui.cli.options import (
    LOOK,
    TRAIN,
    Detach,
    FromScratch,
    Gpus,
    Inexact,
    Json,
    Nproc,
    Retries,
    RunsDir,
    given_options,
)
from rbp_tui.cli.output import print_part, say
from rbp_tui.cli.runs.choice import LiveRuns, Run, find, for_each, on_each, select
from rbp_tui.cli.runs.queue import waiting
from rbp_tui.cli.settings_command import SettingsCommand
from rbp_tui.cli.trust import Trust
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import status_text

if TYPE_CHECKING:
    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.start import StartResult

MOST_AT_ONCE = 4 * 2**20  # bytes of a log


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=LOOK, epilog="Example:  rbp watch last")(watch)
    app.command(rich_help_panel=LOOK, epilog="Example:  rbp logs 3f2a --follow")(logs)
    app.command(
        rich_help_panel=TRAIN,
        epilog="Examples:  rbp stop last && rbp resume last   ·   rbp stop status:queued   ·   rbp stop 3f2a --now",
    )(stop)
    app.command(
        cls=SettingsCommand,
        rich_help_panel=TRAIN,
        epilog="Examples:  rbp resume last   ·   rbp resume 3f2a epochs=400   ·   rbp resume status:failed --detach",
    )(resume)


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
    if not there and (summary := read_summary(directory)) is not None and summary.program:
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


def stop(
    runs: LiveRuns,
    now: Annotated[
        bool, typer.Option("--now", help="End every process at once; what came after the last checkpoint is lost.")
    ] = False,
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Let runs finish their step, save a checkpoint and end; waits for their end.

    A run that waits in the queue leaves it, and so does a damaged entry of the queue.
    """
    from rbp_engine.run import control
    from rbp_engine.run.queue.transitions import discard
    from rbp_engine.run.status.status import judge

    damaged = {word: discard(word) for word in runs}
    for run_id in chain.from_iterable(damaged.values()):
        say("removed the damaged entry of {} from the queue", run_id)
    # Of a damaged entry, the run may be gone, or in another folder.
    place = runs_directory(runs_dir)
    gone = [word for word, ids in damaged.items() if ids and not any((place / name).is_dir() for name in ids)]
    chosen = waiting([word for word in runs if word not in gone], runs_dir)
    chosen = [run for run in chosen if judge(run).live] or chosen

    def ask(run: "RunDirectory") -> "RunDirectory":
        control.require_live(run)
        control.request_stop(run)
        if not as_json:
            say("[dim]asked {} to stop[/]", run.id)
        return run

    def end(run: "RunDirectory") -> dict[str, object]:
        verdict = control.kill(run) if now else control.wait_for_end(run)
        if not as_json:
            say("{} {}{}", status_text(verdict.shown_status), run.id, f": {verdict.reason}" if verdict.reason else "")
        return {"id": run.id} | asdict(verdict)

    asked, refused = (chosen, 0) if now else on_each(chosen, ask, trust=trust)
    for_each(asked, end, trust=trust, as_json=as_json, alone=len(chosen) == 1, code=refused)


def resume(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN... [epochs=N]",
            help="Runs or a query; epochs=N trains one longer, guard.max_time=8h gives it a larger budget.",
            show_default=False,
            autocompletion=completion.resumable_runs,
        ),
    ],
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
    """Resume runs from their newest checkpoints, exactly where they were, and follow them.

    A run uses as many processes as before; one that came from the queue goes back into it, and so do several runs.
    Resume a run on several nodes as you started it, on each of them.

    With epochs=N a longer run goes on from it, RUN-N, and the run itself stays as it is. It is another experiment.

    The exit code is that of rbp train; 1 if one of several runs cannot be resumed, which the others do not wait for.
    """
    from rbp_engine.preset.sweep.section import key_of
    from rbp_engine.run import start
    from rbp_engine.run.files.attempts import launched
    from rbp_engine.run.longer import CHANGEABLE
    from rbp_engine.run.store.query import is_query
    from rbp_tui.cli.train.following import follow_started

    named = not all(map(is_query, words))
    settings = tuple(word for word in words if "=" in word and (named or key_of(word) in CHANGEABLE))
    runs = select([word for word in words if word not in settings], runs_dir)
    if not runs:
        raise typer.BadParameter(f"which run? rbp resume RUN {' '.join(settings)}")

    def go_on(run: "RunDirectory") -> "StartResult":
        waits = (gpus or launched(run).dispatch.gpus or "auto") if len(runs) > 1 else gpus
        its = given_options(gpus=waits, retries=retries, inexact=inexact, from_scratch=from_scratch)
        if nproc is not None:
            its = replace(its, resources=replace(launched(run).resources, processes=nproc))
        return start.resume(run, settings, its)

    results, code = on_each(runs, go_on, trust=trust)
    if results:
        started = replace(results[0], runs=[run for one in results for run in one.runs])
        code = follow_started(started, detach=detach, as_json=as_json) or code
    raise typer.Exit(code)


class _LogPrinter:
    """Copies what is new in a log to stdout, with its colours and nothing else that a terminal would obey.

    Of more than MOST_AT_ONCE bytes, the last ones: a log from elsewhere may be of any size. What a part ends with that
    means something only with the next waits for that.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def print_new(self) -> None:
        with contextlib.suppress(FileNotFoundError, NotAFile), open_untrusted(self._path) as file:
            passed_over = file.seek(0, os.SEEK_END) - MOST_AT_ONCE - self._offset
            if passed_over > 0:
                say("[dim]… {} before this are not shown: {}[/]", fmt.size(passed_over), self._path)
                self._offset += passed_over
            file.seek(self._offset)
            while chunk := file.read(1 << 20):
                text = self._rest + self._decoder.decode(chunk)
                kept = len(text) - unfinished(text)
                self._rest = text[kept:]
                print_part(keep_colours(text[:kept]))
            self._offset = file.tell()

    def end(self) -> None:
        """Print what is left, and go back to the colours of the terminal."""
        print_part(keep_colours(self._rest + self._decoder.decode(b"", final=True)))
        if sys.stdout.isatty():
            print_part(keep_colours("\x1b[0m"))
