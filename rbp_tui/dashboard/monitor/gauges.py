"""Lines for memory and speed: numbers and sparklines."""

from collections.abc import Iterable, Sequence

from rich.text import Text

from rbp_engine.run.files.events import System
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.status.curves import Curve
from rbp_engine.run.status.history import History, RankProgress
from rbp_tui.charts.run_curves import blocks
from rbp_tui.text import format as fmt


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


def cost_text(history: History, summary: Summary) -> Text:
    """What an ended run needed, in one line: peak memory of the worst rank, and its mean speed; empty if unknown."""
    peaks = [one.system.mem_peak for one in history.processes if one.system and one.system.mem_peak is not None]
    parts = [f"{fmt.size(max(peaks))} peak memory"] if peaks else []
    if summary.samples_per_s is not None:
        parts.append(f"{fmt.thousands(summary.samples_per_s)} samples/s")
        parts.append(f"{fmt.number(summary.step_ms, 1)} ms per step")
    return Text(f" {'   '.join(parts)}") if parts else Text()
