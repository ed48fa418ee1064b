"""The picture of one run while it is followed: progress, loss, accuracy, memory, speed and firing rates."""

from dataclasses import dataclass

from rich.align import Align
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rbp_engine.run.files.events import System
from rbp_engine.run.files.summary import Summary, remaining_s
from rbp_engine.run.status.history import History
from rbp_engine.run.status.rules.table import alarms
from rbp_engine.run.store.store import RunRecord
from rbp_tui.charts.run_curves import blocks
from rbp_tui.cli.output import cell
from rbp_tui.cli.train.live_charts import charts
from rbp_tui.cli.train.plain_lines import sentence
from rbp_tui.text import format as fmt
from rbp_tui.text.alarm_text import alarm_line
from rbp_tui.text.firing_text import firing_text
from rbp_tui.text.run_text import STYLES, epochs_text, share_done, status_text, title

WIDE = 100  # from here on, two things stand side by side
# A chart has its title, its x labels and some rows between them.
NARROWEST, LOWEST, HIGHEST = 60, 7, 20
RESULT_ROWS = 6  # the lines about its end, which follow the last picture
LABEL, FIGURES = 8, 34
ALARMS_SHOWN = 2


@dataclass(frozen=True)
class Room:
    """The terminal's size in cells."""

    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether two charts fit side by side."""
        return self.width >= WIDE


def picture(record: RunRecord, history: History, hint: str, phase: str, room: Room) -> RenderableType:
    """The live view of one run: charts if there is room, else a line for each curve. `phase` is what it does now."""
    summary, verdict = record.summary, record.verdict
    below: list[RenderableType] = []
    below += [
        Text(f"! {cell(alarm_line(alarm))}", style="yellow", no_wrap=True, overflow="ellipsis")
        for alarm in alarms(history)[:ALARMS_SHOWN]
    ]
    if alert := history.newest_alert:
        below.append(Text(f"! {sentence(alert)}", style="yellow", no_wrap=True, overflow="ellipsis"))
    if verdict.reason:
        below.append(Text(cell(verdict.reason), style=STYLES.get(verdict.shown_status, ""), overflow="fold"))
    if hint and verdict.live:
        below.append(Text(hint, style="dim", no_wrap=True, overflow="ellipsis"))
    above = [_head(record), _progress(record, phase)]
    if history.firing is not None:
        spikes = Text.assemble((f"{'spikes':<{LABEL}} ", "dim"), firing_text(history.firing, room.width - LABEL - 1))
        below.insert(0, spikes)
    free = room.height - 1 - len(above) - (1 if room.wide else 2) - len(below)
    free -= 0 if verdict.live else RESULT_ROWS
    height = min(HIGHEST, free if room.wide else free // 2)
    if room.width < NARROWEST or height < LOWEST:
        return Group(*above, _lines(summary, history, phase, room, ("loss", "top-1 %", "memory", "speed")), *below)
    gauges = _lines(summary, history, phase, room, ("memory", "speed"))
    return Group(*above, _charts(history, phase, room, height), gauges, *below)


def _head(record: RunRecord) -> RenderableType:

    head = Table.grid(expand=True)
    head.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    head.add_column(justify="right", no_wrap=True)
    head.add_row(Text(cell(title(record.summary)), style="bold"), status_text(record.verdict.shown_status))
    return head


def _progress(record: RunRecord, phase: str) -> RenderableType:
    """Epochs, the bar, and the time left; what it does instead where it is not training."""
    summary, live = record.summary, record.verdict.live
    done = share_done(summary)
    eta = remaining_s(summary) if live else None
    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column(no_wrap=True)
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True, justify="right")
    share = f"step {summary.step}" if done is None else f"{100 * done:3.0f} %"
    figures = [share, f"trained {fmt.duration(summary.trained_s)}"]
    if eta is not None:
        figures.append(f"ETA {fmt.duration(eta)}")
    bar.add_row(
        Text.assemble(f"epoch {epochs_text(summary)}", (f"  {phase}" if live and phase else "", "cyan")),
        ProgressBar(total=1.0, completed=done or 0.0),
        "  ".join(figures),
    )
    return bar


def _charts(history: History, phase: str, room: Room, height: int) -> RenderableType:
    """Loss and accuracy, or what their first values wait for."""
    if not history.curves.keys() & {"train/loss", "validation/loss"}:
        rows = height if room.wide else 2 * height
        text = Text(phase or "no values yet", style="cyan", no_wrap=True, overflow="ellipsis")
        return Align.center(text, vertical="middle", height=rows)
    return charts(history, room.width, height, beside=room.wide)


def _lines(summary: Summary, history: History, phase: str, room: Room, names: tuple[str, ...]) -> RenderableType:
    """A line for each name: figures, and its curve as blocks, all over the same time; side by side in a wide room."""
    first = history.processes[0] if history.processes else None
    known = {
        "loss": (
            phase or "–"
            if summary.train.loss is None
            else f"train {fmt.number(summary.train.loss)}  {summary.split} {fmt.number(summary.last.loss)}",
            "train/loss",
            "cyan",
        ),
        "top-1 %": (_accuracy_text(summary), "validation/top1", "green"),
        "memory": (_memory_text(first.system if first else None), "memory", "magenta"),
        "speed": (
            f"{fmt.thousands(summary.samples_per_s)} samples/s, {fmt.number(summary.step_ms, 1)} ms a step",
            "speed",
            "yellow",
        ),
    }
    beside = room.wide and len(names) == 2
    width = (room.width - 2) // 2 if beside else room.width
    end = max((float(curve.seconds[-1]) for curve in history.curves.values() if len(curve)), default=0.0)
    length = width - LABEL - FIGURES - 2
    cells: list[list[RenderableType]] = []
    for name in names:
        text, curve, style = known[name]
        low = 0.0 if name in ("memory", "speed") else None
        line = blocks(history.curves.get(curve), end, length, log=name == "loss", low=low)
        cells.append([Text(name, style="dim"), Text(text), Text(line, style=style)])
    table = Table.grid(padding=(0, 1))
    for _ in range(2 if beside else 1):
        table.add_column(no_wrap=True, width=LABEL)
        table.add_column(no_wrap=True, width=FIGURES, overflow="ellipsis")
        table.add_column(no_wrap=True, width=max(0, length), overflow="crop")
    if beside:
        table.add_row(*cells[0], *cells[1])
    else:
        for row in cells:
            table.add_row(*row)
    return table


def _accuracy_text(summary: Summary) -> str:
    last, best, epoch = summary.last.top1, summary.best.top1, summary.best.epoch
    where = f"@{epoch}" if epoch is not None else ""
    ema = "" if summary.last.ema_top1 is None else f"  ema {fmt.percent(summary.last.ema_top1)}"
    return f"last {fmt.percent(last)}  best {fmt.percent(best)}{where}{ema}"


def _memory_text(system: System | None) -> str:
    if system is None:
        return "–"
    where = "" if system.mem_allocated is None else " on the GPU"
    return f"{fmt.size(system.used)}, peak {fmt.size(system.mem_peak)}{where}"
