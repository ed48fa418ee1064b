"""The course of validation of runs that are only listed: what a sparkline shows, read without the other events."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from rbp_engine.run.files.events import EventReader, from_json
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.curves import CurveBuilder

# The kinds that matter: validations, and the starts that supersede some of them.
KINDS = (b'"validation"', b'"run_start"')
VALUES_KEPT = 60
RUNS_KEPT = 500

Trend: TypeAlias = tuple[float, ...]


@dataclass
class _Followed:
    reader: EventReader
    builder: CurveBuilder = field(default_factory=CurveBuilder)
    trend: Trend = ()

    def poll(self) -> bool:
        """Read on; whether the trend is another now."""
        lines = self.reader.poll_some_lines()
        events = [from_json(line) for line in lines if any(kind in line for kind in KINDS)]
        if not events:
            return False
        self.builder.add(event for event in events if event is not None)
        before, self.trend = self.trend, self._trend()
        return self.trend != before

    def _trend(self) -> Trend:
        curves = self.builder.curves()
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
                followed = _Followed(EventReader(RunDirectory(self.runs / run_id).events()))
            self._followed[run_id] = followed  # to the end: the others are older
            try:
                if followed.poll():
                    changed[run_id] = followed.trend
            except OSError:  # not ours to tell: whoever opens the run is told
                continue
            more = more or followed.reader.behind
        while len(self._followed) > RUNS_KEPT:
            del self._followed[next(iter(self._followed))]
        return changed, more
