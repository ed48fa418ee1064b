"""The validations of runs that are only listed, for their sparklines, read without the other events."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from rbp_engine.run.files.events import RunStart, Validation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.curves import Curve
from rbp_engine.run.status.history_reader import HistoryReader

# The kinds that matter: validations, and the starts that supersede some of them.
KINDS = (Validation, RunStart)
VALUES_KEPT = 60
RUNS_KEPT = 500

Trend: TypeAlias = tuple[float, ...]


@dataclass
class _Followed:
    reader: HistoryReader
    trend: Trend = ()

    def poll(self, turn_s: float) -> bool:
        """Read on; whether the trend is another now."""
        if not self.reader.poll(turn_s):
            return False
        before, self.trend = self.trend, _trend(self.reader.history().curves)
        return self.trend != before


def _trend(curves: dict[str, Curve]) -> Trend:
    curve = curves.get("validation/top1") or curves.get("validation/loss")
    if curve is None:
        return ()
    values = curve.value[np.isfinite(curve.value)]
    kept = np.unique(np.linspace(0, len(values) - 1, min(VALUES_KEPT, len(values))).round().astype(int))
    return tuple(values[kept].tolist())


class TrendReader:
    """Follows the events files of the runs that it is asked for; what it has read of others it keeps for a while."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._followed: dict[str, _Followed] = {}

    def read(self, run_ids: Iterable[str], seconds: float) -> tuple[dict[str, Trend], bool]:
        """Read on for about that long: the trends that are others now, and whether there is more to read at once."""
        until = time.monotonic() + seconds
        changed: dict[str, Trend] = {}
        more = False
        for run_id in run_ids:
            if time.monotonic() > until:
                return changed, True
            followed = self._followed.pop(run_id, None)
            if followed is None:
                run = RunDirectory(self.runs / run_id)
                followed = _Followed(HistoryReader(run, first_rank=True, kinds=KINDS))
            self._followed[run_id] = followed  # to the end: the others are older
            # An error is not reported here: whoever opens the run sees it.
            if followed.poll(until - time.monotonic()):
                changed[run_id] = followed.trend
            more = more or followed.reader.behind
        while len(self._followed) > RUNS_KEPT:
            del self._followed[next(iter(self._followed))]
        return changed, more
