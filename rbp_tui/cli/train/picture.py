"""The picture of one run while it is followed: progress, loss, accuracy, memory and speed."""

from typing import TYPE_CHECKING

from rbp_engine.run.files.events import Metrics, System
from rbp_engine.run.files.summary import Summary, remaining_s
from rbp_engine.run.store.store import RunRecord
from rbp_tui.cli.output import cell
from rbp_tui.cli.train.plain_lines import sentence
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import STYLES, status_text, title

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rbp_engine.run.status.history import History

SPARKLINE = 38  # characters


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
