"""Three ways to show a run that is being followed: JSON lines, plain lines, and a live picture."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
from rbp_tui.cli.output import console, plain
from rbp_tui.cli.train.follow import Sight
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import STYLES, status_text, title

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live


class JsonLines:
    """The run's events on stdout as they stand in the file, one JSON object a line."""

    def lines(self, lines: list[bytes]) -> None:
        for line in lines:
            sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    def show(self, sight: Sight) -> None:
        """Nothing but events belongs on stdout."""


class Silence:
    """For all nodes of a run but the first, which shows it."""

    def lines(self, lines: list[bytes]) -> None:
        """Nothing."""

    def show(self, sight: Sight) -> None:
        """Nothing."""


class PlainLines:
    """One line of text for what a log should keep: starts, epochs, warnings, the end."""

    def lines(self, lines: list[bytes]) -> None:
        for line in lines:
            event = from_json(line)
            text = None if event is None else sentence(event)
            if event is not None and text is not None:
                clock = time.strftime("%H:%M:%S", time.localtime(event.t))
                sys.stdout.write(f"{clock} {text}\n")
        sys.stdout.flush()

    def show(self, sight: Sight) -> None:
        """The lines say it all."""


class LivePicture:
    """Progress, loss, accuracy, memory and speed, redrawn in place."""

    def __init__(self, live: "Live", hint: str) -> None:
        self._live = live
        self._hint = hint

    def lines(self, lines: list[bytes]) -> None:
        """The picture is drawn from the history."""

    def show(self, sight: Sight) -> None:
        self._live.update(picture(sight, self._hint), refresh=True)


@contextmanager
def live_picture(hint: str) -> Iterator[LivePicture]:
    """A live picture on stdout that leaves its last state standing."""
    from rich.live import Live

    with Live(console=console(), auto_refresh=False) as live:
        yield LivePicture(live, hint)


def picture(sight: Sight, hint: str) -> "RenderableType":
    """The live view of one run."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    summary, history = sight.summary, sight.history
    head = Table.grid(expand=True)
    head.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    head.add_column(justify="right", no_wrap=True)
    head.add_row(f"[bold]{plain(title(summary))}[/]", status_text(sight.verdict.status))

    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column(no_wrap=True)
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True, justify="right")
    done = summary.step / summary.steps if summary.steps else 0.0
    eta = remaining_s(summary) if sight.verdict.live else None
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
    width = 38
    losses = [event.body.loss for event in history.metrics if isinstance(event.body, Metrics)]
    tops = [event.body.top1 for event in history.validations if isinstance(event.body, Validation)]
    speeds = [event.body.samples_per_s for event in history.metrics if isinstance(event.body, Metrics)]
    memory = [event.body for event in history.system if isinstance(event.body, System)]
    used = [gauge.rss if gauge.mem_allocated is None else gauge.mem_allocated for gauge in memory]
    rows.add_row("loss", _loss_text(summary), f"[cyan]{fmt.sparkline(losses, width, log=True)}[/]")
    rows.add_row("top-1 %", _accuracy_text(summary), f"[green]{fmt.sparkline(tops, width)}[/]")
    rows.add_row("memory", _memory_text(memory), f"[magenta]{fmt.sparkline(used, width)}[/]")
    rows.add_row("speed", _speed_text(history.metrics), f"[yellow]{fmt.sparkline(speeds, width)}[/]")

    parts: list[RenderableType] = [head, bar, rows]
    if history.alerts:
        parts.append(Text(f"! {sentence(history.alerts[-1])}", style="yellow", no_wrap=True, overflow="ellipsis"))
    if sight.verdict.reason and sight.verdict.status != "completed":
        parts.append(Text(sight.verdict.reason, style=STYLES.get(sight.verdict.status, ""), overflow="fold"))
    if hint and sight.verdict.live:
        parts.append(Text(hint, style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def _loss_text(summary: Summary) -> str:
    return f"train {fmt.number(summary.train.get('loss'))} val {fmt.number(summary.last.get('loss'))}"


def _accuracy_text(summary: Summary) -> str:
    last, best, epoch = summary.last.get("top1"), summary.best.get("top1"), summary.best.get("epoch")
    where = f"@{epoch}" if epoch is not None else ""
    return f"last {fmt.percent(last)} best {fmt.percent(best)}{where}"


def _memory_text(memory: list[System]) -> str:
    if not memory:
        return "–"
    newest = memory[-1]
    if newest.mem_allocated is None:
        return f"{fmt.size(newest.rss)} peak {fmt.size(newest.mem_peak)}"
    return f"{fmt.size(newest.mem_allocated)} peak {fmt.size(newest.mem_peak)} gpu"


def _speed_text(metrics: list[Event]) -> str:
    if not metrics or not isinstance(metrics[-1].body, Metrics):
        return "–"
    newest = metrics[-1].body
    return f"{fmt.thousands(newest.samples_per_s)}/s step {fmt.number(newest.step_ms, 1)} ms"


def counted(number: int | None, what: str) -> str:
    """As `1 epoch`, `2 epochs`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def sentence(event: Event) -> str | None:
    """An event as a line of a log; None for those that no log needs."""
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
