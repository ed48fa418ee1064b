"""The picture of one run while it is followed: its head, loss and accuracy, memory, speed and firing rates."""

import time

from rich.align import Align
from rich.console import ConsoleDimensions, Group, RenderableType
from rich.text import Text

from rbp_engine.run.files.summary import Summary
from rbp_engine.run.history.history import History
from rbp_engine.run.history.rules.alarm_rules import alarms
from rbp_engine.run.store.store import RunRecord
from rbp_tui.charts.run_curves import blocks
from rbp_tui.cli.output import cell
from rbp_tui.cli.train.live_charts import charts
from rbp_tui.cli.train.plain_lines import sentence
from rbp_tui.text import format as fmt
from rbp_tui.text.alarm_text import alarm_line
from rbp_tui.text.live_text import firing_text, memory_text, progress_text, speed_text, title_text
from rbp_tui.text.run_text import STYLES

WIDE = 100  # from here on, two charts stand side by side
# A chart has its title, its x labels and some rows between them.
NARROWEST, LOWEST, HIGHEST = 60, 7, 20
RESULT_ROWS = 6  # the lines about its end, which follow the last picture
SPIKES = " spikes "
ALARMS_SHOWN = 2


def picture(record: RunRecord, history: History, hint: str, phase: str, size: ConsoleDimensions) -> RenderableType:
    """The live view of one run in a terminal of this size: charts if there is room, else a line for each curve.

    `phase` is what it does now.
    """
    width, wide, length = size.width, size.width >= WIDE, max(8, min(60, size.width // 5))
    summary, verdict, status = record.summary, record.verdict, record.verdict.shown_status
    above = [
        title_text(summary, history, status, phase if verdict.live else "", width),
        progress_text(summary, verdict, history, status, time.time(), width, took=False),  # the result says it
    ]
    gauges = (
        [memory_text(history.curves, history.processes, None, length), speed_text(history, length)]
        if status not in ("queued", "starting")
        else []  # they would be those of processes that are gone
    )
    if history.firing is not None:
        gauges.append(Text.assemble((SPIKES, "dim"), firing_text(history.firing, width - len(SPIKES) - 1)))
    below = [line for line in gauges if line]
    below += [Text(f"! {cell(alarm_line(alarm))}", "yellow") for alarm in alarms(history)[:ALARMS_SHOWN]]
    if alert := history.newest_alert:
        below.append(Text(f"! {sentence(alert)}", "yellow"))
    for line in (*above, *below):
        line.no_wrap, line.overflow = True, "ellipsis"
    if verdict.reason:
        below.append(Text(cell(verdict.reason), STYLES.get(status, ""), overflow="fold"))
    if hint and verdict.live:
        below.append(Text(hint, "dim", no_wrap=True, overflow="ellipsis"))
    free = size.height - 1 - len(above) - len(below) - (0 if verdict.live else RESULT_ROWS)
    height = min(HIGHEST, free if wide else free // 2)
    if width < NARROWEST or height < LOWEST:
        return Group(*above, *_lines(summary, history, phase, length), *below)
    return Group(*above, _charts(history, phase, width, height, beside=wide), *below)


def _charts(history: History, phase: str, width: int, height: int, *, beside: bool) -> RenderableType:
    """Loss and accuracy, or what their first values wait for."""
    if not history.curves.keys() & {"train/loss", "validation/loss"}:
        rows = height if beside else 2 * height
        text = Text(phase or "no values yet", style="cyan", no_wrap=True, overflow="ellipsis")
        return Align.center(text, vertical="middle", height=rows)
    return charts(history, width, height, beside=beside)


def _lines(summary: Summary, history: History, phase: str, length: int) -> list[Text]:
    """Loss and accuracy, each as figures behind its curve in so many blocks."""
    last, best = summary.last, summary.best
    loss = f"train {fmt.number(summary.train.loss)}  {summary.split} {fmt.number(last.loss)}"
    where = f"@{best.epoch}" if best.epoch is not None else ""
    ema = "" if last.ema_top1 is None else f"  ema {fmt.percent(last.ema_top1)} %"
    top1 = f"last {fmt.percent(last.top1)} %  best {fmt.percent(best.top1)} %{where}{ema}"
    lines = []
    for name, curve, figures in (
        ("loss", "train/loss", phase or "–" if summary.train.loss is None else loss),
        ("top-1", "validation/top1", top1),
    ):
        line = blocks(history.curves.get(curve), None, length, log=name == "loss")
        label = (f" {name:<7}", "dim")  # as wide as those of memory and speed
        lines.append(Text.assemble(label, line, f"  {figures}", no_wrap=True, overflow="ellipsis"))
    return lines
