"""The daily commands on runs: ls, watch, logs, stop, kill, resume."""

import codecs
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbp_engine.printable import keep_colours, one_line, unfinished
from rbp_tui.cli import completion
from rbp_tui.cli.options import Detach, Gpus, Inexact, Json, Nproc, Retries, RunsDir
from rbp_tui.cli.output import console, print_json, print_part, print_rich, say
from rbp_tui.cli.runs.choice import LiveRun, ResumableRun, Run, as_plain, find
from rbp_tui.cli.runs.columns import Columns, named_columns
from rbp_tui.cli.settings_command import SettingsCommand
from rbp_tui.cli.trust import Trust, once_trusted

if TYPE_CHECKING:
    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.status.status import Verdict


MOST_AT_ONCE = 4 * 2**20  # bytes of a log


def register(app: typer.Typer) -> None:
    app.command(epilog="Examples:  rbp ls 'status:failed age<1d'   ·   rbp ls digits --columns lr,optim.momentum")(ls)
    app.command(epilog="Example:  rbp watch last")(watch)
    app.command(epilog="Example:  rbp logs 3f2a --follow")(logs)
    app.command(epilog="Example:  rbp stop last && rbp resume last --detach")(stop)
    app.command(epilog="Example:  rbp kill 3f2a")(kill)
    app.command(cls=SettingsCommand, epilog="Examples:  rbp resume last   ·   rbp resume 3f2a epochs=400 --detach")(
        resume
    )


def ls(
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY",
            help="Which runs, in one quoted string: 'acc>0.9 T=4 status:running method:rate_m tag:x not:digits'.",
            show_default=False,
            autocompletion=completion.query,
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Sort by a field, as best, last, loss, created; -FIELD reverses the order.",
            show_default="created",
            autocompletion=completion.run_fields,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--limit",
            metavar="N",
            min=1,
            help="Only the N newest of them, or with --sort the first N.",
            show_default=False,
        ),
    ] = None,
    columns: Columns = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """List the runs, the newest last; sorted by an accuracy, the best first. A wide terminal shows more columns.

    Settings in which the runs differ are columns; --columns chooses others. With --json they stand under "settings".

    Fields of a query: acc (the best), last, loss, epoch, T, seed, lr, batch,
    arch, data, method, status, cause, preset, name, tag, note, host, age, created,
    speed, mem, precision, processes, and keys of presets, as optim.lr.

    A single word is searched in id, preset, name, method and tags.
    created>2d means younger than two days; "or" separates alternatives.
    """
    from rbp_engine.run.store.ordering import sort_runs
    from rbp_engine.run.store.query import parse_query
    from rbp_engine.run.store.store import list_runs
    from rbp_engine.settings.machine import runs_directory
    from rbp_tui.cli.runs.columns import settings_plain
    from rbp_tui.cli.runs.table import column_of, placed_columns, runs_table

    wanted = named_columns(columns, column_of)
    fits = parse_query(query or "")
    runs = runs_directory(runs_dir)
    known = list_runs(runs)
    try:
        fitting = sort_runs([record for record in known if fits(record)], sort or "created")
    except ValueError as error:
        raise typer.BadParameter(one_line(str(error)), param_hint="--sort") from error
    records = fitting if limit is None else fitting[:limit] if sort else fitting[-limit:]
    if as_json:
        settings = settings_plain(records, wanted)
        print_json([as_plain(record) | {"settings": settings[record.run.id]} for record in records])
    elif not known:
        say("no runs in {} yet; begin with: rbp train digits", runs)
    else:
        if records:
            placed = placed_columns(records, console().width, wanted)
            print_rich(runs_table(records, placed))
            shown = {place.column.name for place in placed}
            if missing := [column.title for column in wanted if column.name not in shown]:
                say("[dim]no room for {}; a wider terminal shows more[/]", ", ".join(missing))
        if len(records) < len(known):
            say("[dim]{} of {} runs[/]", len(records), len(known))


def watch(run: Run, runs_dir: RunsDir = None, as_json: Json = False) -> None:
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
    from rbp_engine.run.status.status import judge

    directory = find(run, runs_dir)
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
            help="Train it longer than it was made for, also a completed one.",
            show_default=False,
            autocompletion=completion.settings_of_a_resume,
        ),
    ] = None,
    gpus: Gpus = None,
    retries: Retries = None,
    detach: Detach = False,
    nproc: Nproc = None,
    inexact: Inexact = False,
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Resume a run from its newest checkpoint, exactly where it was, and follow it.

    It uses as many processes as before; a run that came from the queue goes back into it and waits for a device.
    Resume a run on several nodes as you started it, on each of them.

    With epochs=N it trains on to N epochs. The learning rate then follows the schedule of N epochs, so the result is
    not exactly that of a run of N: it becomes another experiment, and every list says so.
    """
    from rbp_engine.run import start
    from rbp_engine.run.files.run_json import read_run_json
    from rbp_tui.cli.train.following import follow_started

    directory = find(run, runs_dir)
    resources = None if nproc is None else replace(read_run_json(directory).resources, processes=nproc)
    worker = once_trusted(
        lambda: start.begin(
            directory, resources, gpus=gpus, retries=retries, inexact=inexact, changes=tuple(settings or ())
        ),
        trust=trust,
    )
    raise typer.Exit(follow_started(start.StartResult([directory], worker), detach=detach, as_json=as_json))


def _report(run: "RunDirectory", verdict: "Verdict", *, as_json: bool) -> None:
    from rbp_tui.text.run_text import status_text

    if as_json:
        print_json({"id": run.id} | asdict(verdict))
    else:
        reason = f": {verdict.reason}" if verdict.reason else ""
        say("{} {}{}", status_text(verdict.status), run.id, reason)


class _LogPrinter:
    """Copies what is new in a log to stdout, with its colours and nothing else that a terminal would obey.

    Of more than MOST_AT_ONCE bytes, the last ones: a log from elsewhere may be of any size.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""  # the beginning of a colour or of a line break

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
                    self._print(self._decoder.decode(chunk))
                self._offset = file.tell()
        except (FileNotFoundError, NotAFile):
            return

    def end(self) -> None:
        """Print what is left, and go back to the colours of the terminal."""
        reset = "\x1b[0m" if sys.stdout.isatty() else ""
        self._print(self._decoder.decode(b"", final=True) + reset, final=True)

    def _print(self, text: str, *, final: bool = False) -> None:
        text = self._rest + text
        kept = len(text) if final else len(text) - unfinished(text)
        self._rest = text[kept:]
        print_part(keep_colours(text[:kept]))
