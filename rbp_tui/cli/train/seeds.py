"""Several runs by one command: following them all."""

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from rbp_tui.cli.output import console, plain, print_json, say

if TYPE_CHECKING:
    from rich.live import Live

    from rbp_engine.run.files.layout import RunDirectory
    from rbp_engine.run.status.status import Verdict
    from rbp_engine.run.store.store import RunRecord
    from rbp_tui.cli.train.interrupts import Interrupts
    from rbp_tui.cli.train.next_steps import Given

POLL_S = 0.3


def follow_queued(runs: "list[RunDirectory]", *, detach: bool, as_json: bool, given: "Given | None" = None) -> int:
    """Follow runs that have been put into the queue to the end of them all, unless `detach`; the worst exit code.

    `given` is how a single run was asked for.
    """
    from rbp_tui.cli.train.command import EXIT_CODES, follow_live, print_result

    if detach:
        return report_queued(runs, as_json=as_json)
    if len(runs) == 1:
        verdicts = [follow_live(runs[0], as_json=as_json, owner=True)]
        if not as_json:
            print_result(runs[0], verdicts[0], given)
    else:
        verdicts = follow_several(runs, as_json=as_json)
        if not as_json:
            print_results(runs, verdicts)
    # A failure is worse than an end before the end.
    return max((EXIT_CODES.get(verdict.status, 1) for verdict in verdicts), key=(0, 4, 1).index)


def report_queued(runs: "Sequence[RunDirectory]", *, as_json: bool) -> int:
    """Print the ids, or the summaries, of runs that go on by themselves."""
    from dataclasses import asdict

    from rbp_engine.run.files.summary import read_summary

    if as_json:
        print_json([asdict(summary) for run in runs if (summary := read_summary(run)) is not None])
    else:
        for run in runs:
            sys.stdout.write(f"{run.id}\n")
        say("[dim]queued; rbp queue shows what they wait for[/]")
    return 0


def follow_several(runs: "Sequence[RunDirectory]", *, as_json: bool) -> "list[Verdict]":
    """Follow several runs to the end of them all, in the way that suits stdout."""
    from rich.live import Live

    from rbp_tui.cli.train.interrupts import Asked, Interrupts

    interrupts = Interrupts(runs)
    if as_json:
        return _follow(runs, SeveralJson(), interrupts)
    if not sys.stdout.isatty():
        return _follow(runs, SeveralLines(), interrupts)
    while True:
        try:
            with Live(console=console(), auto_refresh=False) as live:
                return _follow(runs, SeveralTable(live), interrupts)
        except Asked:
            interrupts.ask()


class SeveralView(Protocol):
    """Shows runs that are being followed together."""

    def lines(self, record: "RunRecord", lines: list[bytes]) -> None:
        """The events of one of them that have come, as they stand in the file."""

    def show(self, records: "Sequence[RunRecord]") -> None:
        """The state of all of them now."""


def _follow(runs: "Sequence[RunDirectory]", view: SeveralView, interrupts: "Interrupts") -> "list[Verdict]":
    from rbp_engine.run.files.events import EventReader
    from rbp_engine.run.status.status import judge
    from rbp_engine.run.store.store import record

    readers = {run: EventReader(run.events()) for run in runs}
    while True:
        # Judged before the events are read: what was written before the end is then shown before it.
        records = [record(run) for run in runs]
        for found in records:
            view.lines(found, readers[found.run].poll_lines())
        view.show(records)
        if not any(found.verdict.live for found in records):
            return [judge(run) for run in runs]
        interrupts.tick()
        time.sleep(POLL_S)


class SeveralJson:
    """The events of all runs on stdout, one JSON object a line, each with the id of its run."""

    def lines(self, record: "RunRecord", lines: list[bytes]) -> None:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                sys.stdout.write(json.dumps({"run": record.run.id} | event, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def show(self, records: "Sequence[RunRecord]") -> None:
        """Nothing but events belongs on stdout."""


class SeveralLines:
    """One line of text for what a log should keep, with the seed and the end of the id in front."""

    def lines(self, record: "RunRecord", lines: list[bytes]) -> None:
        from rbp_engine.run.files.events import from_json
        from rbp_tui.cli.train.views import sentence
        from rbp_tui.text.run_text import short_id

        for line in lines:
            event = from_json(line)
            text = None if event is None else sentence(event)
            if event is not None and text is not None:
                clock = time.strftime("%H:%M:%S", time.localtime(event.t))
                sys.stdout.write(f"{clock} {short_id(record.summary)} seed {record.summary.seed}: {text}\n")
        sys.stdout.flush()

    def show(self, records: "Sequence[RunRecord]") -> None:
        """The lines say it all."""


class SeveralTable:
    """The table of `rbp ls`, redrawn in place."""

    def __init__(self, live: "Live") -> None:
        self._live = live

    def lines(self, record: "RunRecord", lines: list[bytes]) -> None:
        """The table is drawn from the summaries."""

    def show(self, records: "Sequence[RunRecord]") -> None:
        from rich.console import Group
        from rich.text import Text

        from rbp_tui.cli.runs.table import runs_table

        live = any(record.verdict.live for record in records)
        hint = "Ctrl-C: leave them running, stop and save, or kill" if live else ""
        table = runs_table(records, self._live.console.width)
        self._live.update(Group(table, Text(hint, style="dim", no_wrap=True, overflow="ellipsis")), refresh=True)


def print_results(runs: "Sequence[RunDirectory]", verdicts: "Sequence[Verdict]") -> None:
    """How each has ended, and what to type next."""
    from rbp_engine.run.files.summary import read_summary
    from rbp_tui.text import format as fmt
    from rbp_tui.text.run_text import status_text, title

    for run, verdict in zip(runs, verdicts, strict=True):
        summary = read_summary(run)
        if summary is None:
            continue
        last, best = fmt.percent(summary.last.get("top1")), fmt.percent(summary.best.get("top1"))
        reason = f": {plain(verdict.reason)}" if verdict.reason else f", top-1 last {last} %, best {best} %"
        say(f"{status_text(verdict.status)} {plain(title(summary))}{reason}")
    say("  next: rbp ls  ·  rbp report  ·  rbp runs compare RUN RUN")
