"""Follow runs to their end: read their files, hand what is new to a view, and say how it went."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import psutil

from rbp_engine.errors import PREEMPTED_CODE
from rbp_engine.printable import one_line
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.files.layout import RunDirectory, short_id
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import multinode
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.start import StartResult
from rbp_engine.run.status.status import Verdict, judge
from rbp_engine.run.store.store import list_runs, record
from rbp_tui.cli.output import print_json, print_line, say
from rbp_tui.cli.train.interrupts import AskUser, Interrupts
from rbp_tui.cli.train.next_steps import runs_dir_option
from rbp_tui.cli.train.plain_lines import PlainLines
from rbp_tui.cli.train.results import print_results
from rbp_tui.cli.train.views import JsonLines, View
from rbp_tui.text.run_text import there_already

EXIT_CODES = {"completed": 0, "stopped": 4, "preempted": PREEMPTED_CODE}
DATA_CODE = 3  # as where they are found missing before a run is created
POLL_S = 0.2
# The files of a folder that is being removed go one by one, and the folder last.
REMOVAL_S = 2.0


def follow_started(started: StartResult, *, detach: bool, as_json: bool, request: LaunchRequest | None = None) -> int:
    """Follow runs that have been started or queued to the end of them all, unless `detach`; the worst exit code.

    After the `request` stands what to type next, where that is known.
    """
    runs, worker = started.runs, started.worker
    if detach:
        return report_queued(runs, as_json=as_json) if worker is None else report_start(runs[0], as_json=as_json)
    first = worker is None or multinode.number_of(runs[0], worker.pid) == 0
    verdicts = follow_live(runs, as_json=as_json, owner=True, silent=not first)
    gone = False
    if worker is not None:
        worker.wait()
        gone = not runs[0].summary_json.exists()
    if first and (gone or not as_json):  # of one that is gone no event says how it ended
        print_results(runs, verdicts, request, begun=psutil.Process().create_time())
    # A failure is worse than an end before the end.
    return max(map(exit_code, verdicts), key=(0, 4, PREEMPTED_CODE, 3, 1).index)


def exit_code(verdict: Verdict) -> int:
    """The exit code of a command that has followed a run to this end."""
    return DATA_CODE if verdict.cause is Cause.DATA else EXIT_CODES.get(verdict.status, 1)


def follow_live(
    runs: Sequence[RunDirectory],
    *,
    as_json: bool,
    owner: bool,
    silent: bool = False,
    words: Mapping[str, str] | None = None,
    live: Callable[[str], AbstractContextManager[View]] | None = None,
) -> list[Verdict]:
    """Follow runs in the way that suits stdout, or in silence; in lines, `words` by id tell several of them apart.

    Their owner decides about them on Ctrl-C and passes signals on. `live` makes the view for a terminal, with a hint of
    what Ctrl-C does, if not the usual one.
    """
    interrupts = Interrupts(runs) if owner else None
    tick: Callable[[], None] = interrupts.tick if interrupts else lambda: None
    several = len(runs) > 1
    if silent:
        return follow(runs, View(), tick=tick)
    if as_json or not sys.stdout.isatty():
        lines: View = JsonLines(several=several) if as_json else PlainLines(several=several, words=words)
        return follow(runs, lines, tick=tick)
    from rbp_tui.cli.train.live import live_view  # with all that is drawn on a terminal

    them = "them" if several else "it"
    hint = f"Ctrl-C: leave {them} running, stop and save, or kill" if owner else "Ctrl-C leaves; the run goes on"
    while True:
        try:
            with live_view(hint, several=several) if live is None else live(hint) as view:
                return follow(runs, view, tick=tick)
        except AskUser:
            if interrupts is not None:
                interrupts.ask()


def follow(runs: Sequence[RunDirectory], view: View, *, tick: Callable[[], None] = lambda: None) -> list[Verdict]:
    """Show runs until all have ended; their verdicts. `tick` is called between looks and may raise to leave."""
    readers = {run: EventReader(run.events()) for run in runs}
    while True:
        # Judged before the events are read: what was written before the end is then shown before it.
        began = time.monotonic()
        records = [record(run) for run in runs]
        for found in records:
            view.lines(found, readers[found.run].poll_lines())
        view.show(records)
        if not any(found.verdict.live for found in records):
            verdicts = [found.verdict if found.readable else _judge_after_removal(found.run) for found in records]
            if not any(verdict.live for verdict in verdicts):
                return verdicts
        tick()
        time.sleep(max(POLL_S, 10.0 * (time.monotonic() - began)))  # with hundreds of runs, still leave them the cores


def _judge_after_removal(run: RunDirectory) -> Verdict:
    deadline = time.monotonic() + REMOVAL_S
    while run.path.exists() and time.monotonic() < deadline:
        time.sleep(POLL_S / 10)
    return judge(run)


def say_repeated(runs: Sequence[RunDirectory]) -> None:
    """Say which of these new runs are trained already, with the same experiment and seed."""
    made = [record(run).summary for run in runs]
    others = [one for one in list_runs(runs[0].path.parent) if one.run not in runs]
    for line in there_already(others, made[0].experiment, [one.seed for one in made]):
        say("[dim]{}[/]", line)


def report_start(run: RunDirectory, *, as_json: bool) -> int:
    """Wait until the run has started or failed to, and print its id or its summary."""
    if judge(run).live:
        say("[dim]starting {}: this returns as soon as it trains, and the run goes on by itself[/]", short_id(run.id))
    while (verdict := judge(run)).status == "starting":
        time.sleep(0.1)
    summary = read_summary(run)
    if as_json:
        print_json(summary.as_json() if summary else {"id": run.id, "status": verdict.status})
    else:
        print_line(one_line(run.id))
        say("[dim]{}; rbp watch {}{}[/]", verdict.status, short_id(run.id), runs_dir_option(run))
    if verdict.live or verdict.status in EXIT_CODES:
        return 0
    say("[bold red]{}[/] {}", verdict.status, verdict.reason)
    return exit_code(verdict)


def report_queued(runs: Sequence[RunDirectory], *, as_json: bool) -> int:
    """Print the ids, or the summaries, of runs that go on by themselves."""
    if as_json:
        print_json([summary.as_json() for run in runs if (summary := read_summary(run)) is not None])
    else:
        for run in runs:
            print_line(one_line(run.id))
        say("[dim]queued; rbp queue shows what they wait for[/]")
    return 0
