"""A run that is followed, in lines: title and status, progress, memory, speed and firing rates."""

import time
from collections.abc import Iterable, Sequence

import numpy as np
from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.run.files.events import System
from rbp_engine.run.files.summary import Summary, remaining_s
from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history import History, RankProgress, elapsed_s
from rbp_engine.run.history.samples import FiringHistory
from rbp_engine.run.phase import Phase
from rbp_engine.run.status.status import Verdict
from rbp_tui.charts.run_curves import blocks
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import SIGNS, STYLES, epochs_text, pace, share_done, title

SHORTEST_BAR, LONGEST_BAR = 6, 60
#: The curves of what another program may log in training.
LOGGED = ("train/loss", "train/top1", "lr", "data_ms")
SHORTEST_PLACE = 6
SHORTEST_BARS = 6  # of firing rates
SEPARATOR = "   "


def title_text(summary: Summary, history: History, status: str, doing: str, width: int) -> Text:
    """The title of a run, cut if space is short; on the right its status, what it is doing, its device and its host."""
    word = f"{SIGNS.get(status, ' ')} {status.upper()}"
    left = Text.assemble((f" {one_line(title(summary) if summary.label else summary.id)}", "bold"))
    left.truncate(max(1, width - len(word) - 3), overflow="ellipsis")
    right = Text.assemble((word, f"bold {STYLES.get(status, '')}".strip()))
    if doing and doing != Phase.TRAINING:
        left.truncate(max(1, width - right.cell_len - len(doing) - 4), overflow="ellipsis")
        right.append(f" {doing}")
    room = width - left.cell_len - right.cell_len - 5
    if room >= SHORTEST_PLACE and (place := _place(history)):
        right.append("  ").append(place if len(place) <= room else f"{place[: room - 1]}…", style="dim")
    return Text.assemble(left, " " * (width - left.cell_len - right.cell_len - 1), right)


def _place(history: History) -> str:
    attempt = history.attempt
    if attempt is None:
        return ""
    begun = attempt.begun
    several = f"{begun.world_size} × " if begun.world_size > 1 else ""
    places = (f"{several}{begun.device or ''}", begun.host or "")
    return one_line(" · ".join(part for part in places if part.strip()))


def progress_text(
    summary: Summary, verdict: Verdict, history: History, status: str, now: float, width: int, *, took: bool = True
) -> Text:
    """Epoch, bar, share, time, time left, learning rate, and age of the newest checkpoint; cut from the end.

    `took` says how long a run that has ended took from its first event to its last.
    """
    attempts, live = history.attempts, verdict.live and status != "gone"
    done = share_done(summary) or 0.0
    left = Text(f" epoch {epochs_text(summary)} " if summary.epoch or summary.epochs else " ")
    working = live and verdict.status not in ("queued", "starting")
    share = f"step {summary.step}" if share_done(summary) is None else f"{100 * done:.0f} %"
    elapsed = elapsed_s(attempts, now if working else None)  # of a log that was written at once it says nothing
    so_long = f"   elapsed {fmt.duration(elapsed if working or elapsed >= 0.5 else None)}"
    right = Text(f" {share}{so_long if working or took else ''}")
    parts = []
    if live and status not in ("stale", "stalled"):
        remaining = remaining_s(summary)
        parts.append(f"ETA {fmt.duration(remaining)}{f' → {_clock(now + remaining, now)}' if remaining else ''}")
        if working and (metrics := history.metrics) is not None and metrics.lr is not None:
            parts.append(f"lr {metrics.lr:.3g}")
    if history.checkpoints:
        age = now - history.checkpoints[-1].t
        parts.append(f"ckpt {fmt.duration(age)} ago" if live else f"ckpt step {history.checkpoints[-1].step}")
    if summary.attempt > 1:
        parts.append(f"attempt {summary.attempt}")
    for part in parts:
        if left.cell_len + right.cell_len + len(part) + 3 + SHORTEST_BAR <= width:
            right.append(f"   {part}", style="dim" if part.startswith(("ckpt", "attempt")) else "")
    length = max(SHORTEST_BAR, min(LONGEST_BAR, width - left.cell_len - right.cell_len - 1))
    filled = round(length * done)
    style = STYLES.get(status, "")
    return Text.assemble(left, ("━" * filled, style), ("━" * (length - filled), "dim"), right)


def _clock(moment: float, now: float) -> str:
    """A time of day, with the day unless it is today."""
    then, today = time.localtime(moment), time.localtime(now)
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%a %d %b %H:%M", then)


def worst_rank(processes: Iterable[RankProgress]) -> int:
    """The rank that has needed the most memory; 0 if unknown."""
    known = [process for process in processes if process.system is not None]
    return max(known, key=lambda process: _need(process.system), default=RankProgress(0)).rank


def _need(system: System | None) -> int:
    if system is None:
        return 0
    return max(system.mem_peak or 0, system.mem_reserved or 0, system.mem_allocated or system.rss or 0)


def memory_text(curves: dict[str, Curve], processes: Sequence[RankProgress], rank: int | None, width: int) -> Text:
    """Memory of a rank, or of the worst one: on a GPU allocated, reserved and peak; on a CPU resident and peak.

    Empty if none has been measured.
    """
    shown = worst_rank(processes) if rank is None else rank
    process = next((one for one in processes if one.rank == shown), None)
    if process is None or process.system is None:
        return Text()
    system = process.system
    line = Text.assemble((" memory ", "dim"))
    line.append(blocks(curves.get(f"memory/{shown}" if shown else "memory"), None, width, low=0.0), style="dim")
    if system.mem_allocated is not None:
        line.append(f"  {fmt.size(system.mem_allocated)} allocated")
        line.append(f"   {fmt.size(system.mem_reserved)} reserved   {fmt.size(system.mem_peak)} peak")
    else:
        line.append(f"  {fmt.size(system.rss)}   {fmt.size(system.mem_peak)} peak").append("  of the host", style="dim")
    if len(processes) > 1:
        line.append(f"   rank {shown}" + (f", worst of {len(processes)}" if rank is None else ""), style="dim")
    return line


def speed_text(history: History, width: int) -> Text:
    """Samples per second, step time, the share of it spent waiting for data, and the least busy GPU; else empty."""
    metrics, processes = history.metrics, history.processes
    if metrics is None or metrics.samples_per_s is None:
        return Text()
    line = Text.assemble((" speed  ", "dim"))
    line.append(blocks(history.curves.get("speed"), None, width, low=0.0), style="dim")
    line.append(f"  {fmt.thousands(metrics.samples_per_s)} samples/s   step {fmt.number(metrics.step_ms, 1)} ms")
    if metrics.step_ms and metrics.data_ms is not None:
        share = metrics.data_ms / metrics.step_ms
        # From a third of the time spent waiting, the loader needs attention.
        line.append(f"   data {100 * share:.0f} %", style="bold yellow" if share > 1 / 3 else "")
    return line.append("  " if (busy := busy_text(processes)) else "").append(busy)


def busy_text(processes: Sequence[RankProgress]) -> Text:
    """How busy the GPU is, of several the least busy one, as ` GPU 97 %`; empty without one."""
    busy = [one.system.gpu_util for one in processes if one.system and one.system.gpu_util is not None]
    return Text(f" GPU {'≥ ' if len(busy) > 1 else ''}{100 * min(busy):.0f} %" if busy else "")


def cost_text(summary: Summary) -> Text:
    """What an ended run needed, in one line: peak memory of rank 0, and its mean speed; empty if unknown."""
    parts = [*([f"{fmt.size(summary.mem_peak)} peak memory"] if summary.mem_peak else []), *pace(summary)]
    return Text(f" {'   '.join(parts)}") if parts else Text()


def logged_text(history: History) -> Text:
    """The newest of each number that another program has logged in training, and of its own; empty without any."""
    numbers = {name: curve.value for name, curve in history.curves.items() if name in LOGGED}
    if history.own is not None:
        numbers |= dict(zip(history.own.names, history.own.values.T, strict=True))
    known = {name: finite[-1] for name, found in numbers.items() if len(finite := found[np.isfinite(found)])}
    return Text("   ".join(one_line(f"{name} {fmt.number(float(number))}") for name, number in known.items()))


def firing_text(firing: FiringHistory, width: int, more: str = "") -> Text:
    """The newest rate of each layer as a bar, and what is usual in a layer: its rate, and the shares of its neurons.

    Of little room, `more` is left out first, then the shares; there are fewer bars than layers only in the end.
    """
    rates = firing.rates[-1].mean(axis=1)
    figures = [
        f"rate {100 * rates.mean():.1f} %",
        f"silent {100 * firing.silent[-1].mean():.1f} %",
        f"saturated {100 * firing.saturated[-1].mean():.1f} %",
        "by layer",
        *([more] if more else []),
    ]
    bars = min(len(rates), max(SHORTEST_BARS, width // 2))
    while len(figures) > 1 and bars + _length(figures) > width:
        figures.pop()
    bars = max(1, min(bars, width - _length(figures)))
    line = Text(fmt.sparkline(rates.tolist(), bars, low=0.0, high=float(rates.max())), no_wrap=True)
    for number, figure in enumerate(figures):
        line.append(SEPARATOR).append(figure, "dim" if number > 2 else "")
    return line


def _length(figures: Sequence[str]) -> int:
    return sum(len(SEPARATOR) + len(figure) for figure in figures)
