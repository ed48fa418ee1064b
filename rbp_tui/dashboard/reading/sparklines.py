"""The validations of runs that are only listed, for their sparklines, read without the other events."""

import math
import time
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np

from rbp_engine.run.files.events import RunStart, Validation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history_reader import HistoryReader
from rbp_tui.text.format import BLOCKS

# The kinds that matter: validations, and the starts that supersede some of them.
KINDS = (Validation, RunStart)
VALUES_KEPT = 60
RUNS_KEPT = 500

Scale: TypeAlias = tuple[float, float]

# Without the full block: lines of neighbouring rows stay apart.
LINE = BLOCKS[:-1]


@dataclass(frozen=True)
class Trend:
    """The evaluations of a run: what was measured ("top1" or "loss"), after how many epochs, and the values.

    A value that is missing, or was not finite, is None.
    """

    metric: str = ""
    epochs: tuple[float, ...] = ()
    values: tuple[float | None, ...] = ()


NO_TREND = Trend()


def common_scales(trends: Iterable[Trend]) -> dict[str, Scale]:
    """For each metric the range of all trends, so that their lines can be compared; of accuracies in whole tenths."""
    known: dict[str, list[float]] = {}
    for trend in trends:
        known.setdefault(trend.metric, []).extend(value for value in trend.values if value is not None)
    scales = {metric: (min(values), max(values)) for metric, values in known.items() if values}
    if "top1" in scales:
        low, high = scales["top1"]
        scales["top1"] = math.floor(10 * low) / 10, math.ceil(10 * high) / 10
    return scales


def sparkline(trend: Trend, planned_epochs: int, width: int, scale: Scale) -> str:
    """A line on which `width` characters are all epochs that are planned, up to the last evaluation.

    A character is the mean of the evaluations in its part, or the next one if there is none; a gap if that is missing.
    """
    if not trend.epochs:
        return ""
    low, high = scale
    planned = max(planned_epochs, trend.epochs[-1])
    ends = [planned * (column + 1) / width + 1e-9 for column in range(width)]
    places = [0, *(bisect_right(trend.epochs, end) for end in ends)]
    drawn = ""
    for begin, end in pairwise(places):
        if begin < len(trend.epochs):
            part = [value for value in trend.values[begin : max(end, begin + 1)] if value is not None]
            height = (sum(part) / len(part) - low) / (high - low) if part and high > low else 0.5
            drawn += LINE[min(6, max(0, int(7 * height + 1e-9)))] if part else " "
    return drawn


def _trend(curves: dict[str, Curve]) -> Trend:
    metric = next((name for name in ("top1", "loss") if f"validation/{name}" in curves), "")
    if not metric:
        return NO_TREND
    curve = curves[f"validation/{metric}"]
    count = len(curve)
    kept = np.unique(np.linspace(0, count - 1, min(VALUES_KEPT, count)).round().astype(int))
    epochs = np.where(np.isfinite(curve.epoch), curve.epoch, np.arange(1, count + 1))[kept].tolist()
    values = curve.value[kept].tolist()
    return Trend(metric, tuple(epochs), tuple(value if math.isfinite(value) else None for value in values))


class TrendReader:
    """Follows the events files of the runs that it is asked for; what it has read of others it keeps for a while."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._readers: dict[str, HistoryReader] = {}

    def read(self, run_ids: Iterable[str], seconds: float) -> tuple[dict[str, Trend], bool]:
        """Read on for about that long: the trends that have news, and whether there is more to read at once."""
        until = time.monotonic() + seconds
        changed: dict[str, Trend] = {}
        more = False
        for run_id in run_ids:
            if time.monotonic() > until:
                return changed, True
            reader = self._readers.pop(run_id, None)
            if reader is None:
                reader = HistoryReader(RunDirectory(self.runs / run_id), first_rank=True, kinds=KINDS)
            self._readers[run_id] = reader  # to the end: the others are older
            # An error is not reported here: whoever opens the run sees it.
            if reader.poll(until - time.monotonic()):
                changed[run_id] = _trend(reader.history().curves)
            more = more or reader.behind
        while len(self._readers) > RUNS_KEPT:
            del self._readers[next(iter(self._readers))]
        return changed, more
