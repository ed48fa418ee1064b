"""How runs are shown that are being followed: JSON lines, plain lines, a live picture of one, a table of several."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rbp_engine.printable import LONGEST_TEXT, Line, in_json, json_line, one_line
from rbp_engine.run.files.events import (
    CheckpointSaved,
    ErrorRaised,
    Event,
    Metrics,
    RunEnd,
    RunStart,
    System,
    Validation,
    WarningRaised,
    from_json,
)
from rbp_engine.run.files.summary import Summary, remaining_s
from rbp_engine.run.store.store import RunRecord
from rbp_tui.cli.output import cell, console, print_line
from rbp_tui.cli.runs.table import placed_columns, runs_table
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import STYLES, short_id, status_text, title

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from rbp_engine.run.status.history import History

SPARKLINE = 38  # characters


class View(Protocol):
    """Shows one run or several while they are followed."""

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        """The events of one of them that have come, as they stand in the file."""

    def show(self, records: Sequence[RunRecord]) -> None:
        """The state of all of them now."""


def lines_view(*, as_json: bool, several: bool) -> View:
    """A view that only adds to stdout."""
    if as_json:
        return SeveralJson() if several else JsonLines()
    return PlainLines(several=several)


@contextmanager
def live_view(hint: str, *, several: bool) -> Iterator[View]:
    """A view on stdout that is redrawn in place, and leaves its last state standing."""
    from rich.live import Live

    with Live(console=console(), auto_refresh=False) as live:
        yield LiveTable(live, hint) if several else LivePicture(live, hint)


class Silence:
    """For all nodes of a run but the first, which shows it."""

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        """Nothing."""

    def show(self, records: Sequence[RunRecord]) -> None:
        """Nothing."""


class JsonLines:
    """The run's events on stdout as they stand in the file, one JSON object a line, control characters escaped."""

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        for line in lines:
            print_line(json_line(line))
        sys.stdout.flush()

    def show(self, records: Sequence[RunRecord]) -> None:
        """Nothing but events belongs on stdout."""


class SeveralJson:
    """The events of all runs on stdout, one JSON object a line, each with the id of its run."""

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                print_line(one_line(in_json(json.dumps({"run": record.run.id} | event, ensure_ascii=False))))
        sys.stdout.flush()

    def show(self, records: Sequence[RunRecord]) -> None:
        """Nothing but events belongs on stdout."""


class PlainLines:
    """One line of text for what a log should keep: starts, epochs, warnings, the end.

    Of `several` runs, each line begins with the end of the run's id and its seed.
    """

    def __init__(self, *, several: bool) -> None:
        self._several = several

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        named = f"{short_id(record.summary)} seed {record.summary.seed}: " if self._several else ""
        for line in lines:
            event = from_json(line)
            text = None if event is None else sentence(event)
            if event is not None and text is not None:
                clock = time.strftime("%H:%M:%S", time.localtime(event.t))
                print_line(one_line(f"{clock} {named}{text}"))
        sys.stdout.flush()

    def show(self, records: Sequence[RunRecord]) -> None:
        """The lines say it all."""


class LivePicture:
    """Progress, loss, accuracy, memory and speed of one run."""

    def __init__(self, live: "Live", hint: str) -> None:
        self._live = live
        self._hint = hint
        from rbp_engine.run.status.history import HistoryBuilder  # imports numpy, which no other view needs

        self._history = HistoryBuilder()

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        self._history.add(event for line in lines if (event := from_json(line)) is not None)

    def show(self, records: Sequence[RunRecord]) -> None:
        for record in records:
            if record.readable:
                self._live.update(picture(record, self._history.history(), self._hint), refresh=True)


class LiveTable:
    """The table of `rbp ls`."""

    def __init__(self, live: "Live", hint: str) -> None:
        self._live = live
        self._hint = hint

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        """The table is drawn from the summaries."""

    def show(self, records: Sequence[RunRecord]) -> None:
        from rich.console import Group
        from rich.text import Text

        hint = self._hint if any(record.verdict.live for record in records) else ""
        table = runs_table(records, placed_columns(records, self._live.console.width))
        self._live.update(Group(table, Text(hint, style="dim", no_wrap=True, overflow="ellipsis")), refresh=True)


def picture(record: RunRecord, history: "History", hint: str) -> "RenderableType":
    """The live view of one run."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    summary, verdict = record.summary, record.verdict
    head = Table.grid(expand=True)
    head.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    head.add_column(justify="right", no_wrap=True)
    head.add_row(Text(cell(title(summary)), style="bold"), status_text(verdict.status))

    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column(no_wrap=True)
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True, justify="right")
    done = summary.step / summary.steps if summary.steps else 0.0
    eta = remaining_s(summary) if verdict.live else None
    left = f"  ETA {fmt.duration(eta)}" if eta is not None else ""
    bar.add_row(
        f"epoch {summary.epoch}/{summary.epochs}",
        ProgressBar(total=1.0, completed=done),
        f"{100 * done:3.0f} %  {fmt.duration(summary.trained_s)}{left}",
    )

    rows = Table.grid(padding=(0, 1), expand=True)
    rows.add_column(style="dim", no_wrap=True, width=8)
    rows.add_column(no_wrap=True, width=27)
    rows.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    first = history.processes[0] if history.processes else None
    rows.add_row("loss", _loss_text(summary), Text(_sparkline(history, "train/loss", log=True), style="cyan"))
    rows.add_row("top-1 %", _accuracy_text(summary), Text(_sparkline(history, "validation/top1"), style="green"))
    rows.add_row(
        "memory", _memory_text(first.system if first else None), Text(_sparkline(history, "memory"), style="magenta")
    )
    rows.add_row(
        "speed", _speed_text(first.metrics if first else None), Text(_sparkline(history, "speed"), style="yellow")
    )

    parts: list[RenderableType] = [head, bar, rows]
    if alert := history.newest_alert:
        parts.append(Text(f"! {sentence(alert)}", style="yellow", no_wrap=True, overflow="ellipsis"))
    if verdict.reason and verdict.status != "completed":
        parts.append(Text(cell(verdict.reason), style=STYLES.get(verdict.status, ""), overflow="fold"))
    if hint and verdict.live:
        parts.append(Text(hint, style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def _sparkline(history: "History", name: str, *, log: bool = False) -> str:
    curve = history.curves.get(name)
    return "" if curve is None else fmt.sparkline(curve.value.tolist(), SPARKLINE, log=log)


def _loss_text(summary: Summary) -> str:
    return f"train {fmt.number(summary.train.loss)} val {fmt.number(summary.last.loss)}"


def _accuracy_text(summary: Summary) -> str:
    last, best, epoch = summary.last.top1, summary.best.top1, summary.best.epoch
    where = f"@{epoch}" if epoch is not None else ""
    return f"last {fmt.percent(last)} best {fmt.percent(best)}{where}"


def _memory_text(system: System | None) -> str:
    if system is None:
        return "–"
    return f"{fmt.size(system.used)} peak {fmt.size(system.mem_peak)}{'' if system.mem_allocated is None else ' gpu'}"


def _speed_text(metrics: Metrics | None) -> str:
    return (
        "–" if metrics is None else f"{fmt.thousands(metrics.samples_per_s)}/s step {fmt.number(metrics.step_ms, 1)} ms"
    )


def counted(number: int | None, what: str) -> str:
    """As `1 epoch`, `2 epochs`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def sentence(event: Event) -> Line | None:
    """An event as a line of a log, not longer than LONGEST_TEXT; None for those that no log needs."""
    text = _sentence(event)
    return None if text is None else one_line(text, LONGEST_TEXT)


def _sentence(event: Event) -> str | None:
    body = event.body
    if isinstance(body, RunStart):
        verb = f"resumed from {body.resumed_from}" if body.resumed_from else "started"
        processes = f", {body.world_size} processes" if body.world_size > 1 else ""
        epochs, steps = counted(body.epochs, "epoch"), counted(body.steps_per_epoch, "step")
        return f"{verb} on {body.device}{processes}: {epochs} of {steps}"
    if isinstance(body, Validation):
        what = f"epoch {body.epoch}" if body.weights == "last" else "best weights"
        return f"{what}: {body.split} loss {fmt.number(body.loss)} top-1 {fmt.percent(body.top1)} %"
    if isinstance(body, WarningRaised):
        return f"warning: {body.message}"
    if isinstance(body, ErrorRaised):
        return f"error: {body.message}"
    if isinstance(body, CheckpointSaved):
        return None
    if isinstance(body, RunEnd):
        return f"{body.status}{f': {body.reason}' if body.reason else ''}"
    return None
