"""The daily commands on runs: ls, watch, logs, stop, kill, resume, and `rbp runs` show and rm."""

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbp_tui.cli.output import Json, RunsDir, console, print_json, say

if TYPE_CHECKING:
    from rich.table import Table

    from rbp_engine.run.layout import RunDirectory
    from rbp_engine.run.store import RunRecord

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="An id, a unique prefix, its last four characters, a name, or 'last'.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example:  rbp ls --json | jq '.[].best'")(ls)
    app.command(epilog="Example:  rbp watch last")(watch)
    app.command(epilog="Example:  rbp logs 3f2a --follow")(logs)
    app.command(epilog="Example:  rbp stop last && rbp resume last --detach")(stop)
    app.command(epilog="Example:  rbp kill 3f2a")(kill)
    app.command(epilog="Example:  rbp resume last")(resume)
    group = typer.Typer(name="runs", help="Look at runs and remove them.", no_args_is_help=True)
    group.command(epilog="Example:  rbp runs show last")(show)
    group.command(epilog="Example:  rbp runs rm 3f2a 9c01")(rm)
    app.add_typer(group)


def ls(runs_dir: RunsDir = None, as_json: Json = False) -> None:
    """List the runs, the newest last."""
    from rbp_engine.machine import runs_directory
    from rbp_engine.run.store import list_runs

    runs = runs_directory(runs_dir)
    records = list_runs(runs)
    if as_json:
        print_json([_as_json(record) for record in records])
    elif not records:
        say(f"no runs in {runs} yet; begin with: rbp train digits")
    else:
        console().print(_table(records))


def watch(run: Run, runs_dir: RunsDir = None, as_json: Json = False) -> None:
    """Follow a run, live or from its beginning; Ctrl-C only leaves. The exit code is the run's."""
    from rbp_tui.cli.train import EXIT_CODES, follow_live, print_result

    directory = _find(run, runs_dir)
    try:
        verdict = follow_live(directory, as_json=as_json, owner=False)
    except KeyboardInterrupt:
        say("left; the run goes on")
        raise typer.Exit(0) from None
    if not as_json:
        print_result(directory, verdict)
    raise typer.Exit(EXIT_CODES.get(verdict.status, 1))


def logs(
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until the run has ended.")] = False,
    rank: Annotated[int, typer.Option(help="Which process of the run.")] = 0,
    runs_dir: RunsDir = None,
) -> None:
    """Print what the processes of a run have written: stdout, then stderr."""
    from rbp_engine.run.errors import RunError
    from rbp_engine.run.status import judge

    directory = _find(run, runs_dir)
    files = [directory.stdout(rank), directory.stderr(rank)]
    if not any(path.is_file() for path in files):
        raise RunError(f"{directory.id} has no log of rank {rank}")
    offsets = dict.fromkeys(files, 0)
    while True:
        live = judge(directory).live
        for path in files:
            offsets[path] = _copy_from(path, offsets[path])
        if not follow or not live:
            return
        time.sleep(0.2)


def stop(run: Run, runs_dir: RunsDir = None, as_json: Json = False) -> None:
    """Let a run finish its step, save a checkpoint and end; waits until it has."""
    from rbp_engine.run import control

    directory = _find(run, runs_dir)
    if not as_json:
        say(f"[dim]asked {directory.id} to stop[/]")
    verdict = control.stop(directory)
    _report(directory, verdict.status, verdict.reason, as_json=as_json)


def kill(run: Run, runs_dir: RunsDir = None, as_json: Json = False) -> None:
    """End every process of a run at once; what came after the last checkpoint is lost."""
    from rbp_engine.run import control

    directory = _find(run, runs_dir)
    verdict = control.kill(directory)
    _report(directory, verdict.status, verdict.reason, as_json=as_json)


def resume(
    run: Run,
    detach: Annotated[bool, typer.Option("--detach", help="Leave once it has started; print its id.")] = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Go on with a run from its newest checkpoint, exactly where it was, and follow it."""
    from rbp_engine.run import launch
    from rbp_tui.cli.train import EXIT_CODES, follow_live, print_result, report_start

    directory = _find(run, runs_dir)
    worker = launch.start(directory)
    if detach:
        raise typer.Exit(report_start(directory, as_json=as_json))
    verdict = follow_live(directory, as_json=as_json, owner=True)
    worker.wait()
    if not as_json:
        print_result(directory, verdict)
    raise typer.Exit(EXIT_CODES.get(verdict.status, 1))


def show(run: Run, runs_dir: RunsDir = None, as_json: Json = False) -> None:
    """Everything about a run: status and why, progress, last and best, attempts, where it came from."""
    from rbp_engine.run.layout import read_json
    from rbp_engine.run.store import record
    from rbp_tui.cli.describe import describe_run

    directory = _find(run, runs_dir)
    found = record(directory)
    identity = read_json(directory.run_json)
    if as_json:
        print_json({"summary": _as_json(found) if found else None, "run": identity, "path": str(directory.path)})
        return
    console().print(describe_run(directory, found, identity))


def rm(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs to remove.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Remove runs that have ended, with their checkpoints."""
    from rbp_engine.run.errors import RunError
    from rbp_engine.run.status import judge
    from rbp_engine.run.store import remove_run

    directories = list(dict.fromkeys(_find(run, runs_dir) for run in runs))
    if live := [directory.id for directory in directories if judge(directory).live]:
        raise RunError(f"still running: {', '.join(live)}; stop or kill first")
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("say --yes to remove runs without a terminal")
        for directory in directories:
            say(f"  {directory.id}")
        typer.confirm(
            f"Remove {len(directories)} run{'' if len(directories) == 1 else 's'} for good?", abort=True, err=True
        )
    for directory in directories:
        remove_run(directory)
        say(f"removed {directory.id}")


def _find(reference: str, runs_dir: Path | None) -> "RunDirectory":
    from rbp_engine.machine import runs_directory
    from rbp_engine.run.store import find_run

    return find_run(runs_directory(runs_dir), reference)


def _as_json(record: "RunRecord") -> dict[str, Any]:
    """The summary with the status as judged now."""
    return asdict(record.summary) | {"status": record.verdict.status, "reason": record.verdict.reason}


def _report(run: "RunDirectory", status: str, reason: str, *, as_json: bool) -> None:
    from rich.markup import escape

    from rbp_tui.cli.views import status_text

    if as_json:
        print_json({"id": run.id, "status": status, "reason": reason})
    else:
        say(f"{status_text(status)} {escape(run.id)}{f': {escape(reason)}' if reason else ''}")


def _table(records: "list[RunRecord]") -> "Table":
    from rich.table import Table

    from rbp_tui import format as fmt
    from rbp_tui.cli.views import short_id, status_text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("run", no_wrap=True, overflow="ellipsis", max_width=22)
    table.add_column("id", no_wrap=True)
    table.add_column("method", no_wrap=True)
    table.add_column("T", justify="right")
    table.add_column("seed", justify="right")
    table.add_column("status", no_wrap=True)
    table.add_column("epoch", justify="right", no_wrap=True)
    table.add_column("last %", justify="right", no_wrap=True)
    table.add_column("best %", justify="right", no_wrap=True)
    for record in records:
        summary = record.summary
        table.add_row(
            summary.name or summary.preset,
            short_id(summary),
            fmt.method(summary.method),
            str(summary.timesteps),
            str(summary.seed),
            status_text(record.verdict.status),
            f"{summary.epoch}/{summary.epochs}",
            fmt.percent(summary.last.get("top1")),
            fmt.percent(summary.best.get("top1")),
        )
    return table


def _copy_from(path: Path, offset: int) -> int:
    """Copy a file from an offset to stdout; the offset of its end."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(1 << 20):
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return file.tell()
    except FileNotFoundError:
        return offset
