"""The processes of a run side by side: which are slow, short of memory, or silent."""

import statistics
from collections.abc import Sequence

from rich.text import Text

from rbp_engine.run.history.history import RankProgress
from rbp_engine.run.status.status import LOST_AFTER_S
from rbp_tui.text import format as fmt

HEADING = f"{'rank':>4}{'step ms':>8}{'skew':>6}{'data':>6}{'memory':>9}{'peak':>9}{'gpu':>6}"


def ranks_text(processes: Sequence[RankProgress], shown: int | None) -> Text:
    """A row per rank. `skew` is its step time over the median; a silent rank has no news while others do."""
    times = [one.step_ms for one in processes if one.step_ms]
    median = statistics.median(times) if times else None
    newest = max(one.seen for one in processes)
    text = Text.assemble((f"{HEADING}\n", "dim"))
    for process in processes:
        text.append(_row(process, median), style="bold" if process.rank == shown else "")
        if newest - process.seen > LOST_AFTER_S:
            text.append(f"  silent {fmt.duration(newest - process.seen)}", style="yellow")
        text.append("\n")
    return text


def _row(process: RankProgress, median: float | None) -> str:
    system, step_ms, data_ms = process.system, process.step_ms, process.data_ms
    skew = f"{100 * (step_ms / median - 1):+.0f} %" if step_ms and median else "–"
    data = f"{100 * data_ms / step_ms:.0f} %" if step_ms and data_ms is not None else "–"
    used = None if system is None else system.used
    busy = "–" if system is None or system.gpu_util is None else f"{100 * system.gpu_util:.0f} %"
    peak = None if system is None else system.mem_peak
    time = "–" if step_ms is None else f"{step_ms:.1f}"
    return f"{process.rank:>4}{time:>8}{skew:>6}{data:>6}{fmt.size(used):>9}{fmt.size(peak):>9}{busy:>6}"
