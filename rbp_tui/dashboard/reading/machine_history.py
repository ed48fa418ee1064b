"""What the devices of this machine did over the last hour, for small charts of it."""

import threading
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbp_tui.dashboard.reading.machine_reader import MachineReading

KEPT_S = 3600.0
#: A reading stands for the time since the one before it, unless that is longer ago than this.
LONGEST_GAP_S = 15.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Sample:
    t: float
    values: dict[str, float]


class MachineHistory:
    """Readings of the last hour. One thread adds to it while another looks."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()
        self._lock = threading.Lock()

    def add(self, reading: MachineReading, t: float) -> None:
        """Add a reading made at `t`, in seconds since the epoch."""
        sample = _Sample(t, _values(reading))
        with self._lock:
            if self._samples and t < self._samples[-1].t:  # the clock was set back
                self._samples.clear()
            self._samples.append(sample)
            while self._samples[0].t < t - KEPT_S:
                self._samples.popleft()

    @property
    def length_s(self) -> float:
        """How far back it goes, in seconds."""
        with self._lock:
            return self._samples[-1].t - self._samples[0].t if self._samples else 0.0

    def tracks(self, span_s: float, columns: int) -> dict[str, Floats]:
        """The means of each device's values over the last `span_s` seconds in so many equal parts; NaN for unknown.

        The devices are `core 0`, `gpu0`, `gpu0 memory`, `memory`, `disk` (each as fractions) and `traffic` in bytes per
        second. The parts begin at multiples of their length, so that a picture moves on and does not flicker.
        """
        with self._lock:
            samples = list(self._samples)
        if not samples or columns < 1:
            return {}
        times = [sample.t for sample in samples]
        names = list(dict.fromkeys(name for sample in samples for name in sample.values))
        table = np.array([[sample.values.get(name, np.nan) for name in names] for sample in samples])
        means = np.full((columns, len(names)), np.nan)
        part = span_s / columns
        end = np.ceil(times[-1] / part) * part
        for column in range(columns):
            start = end - (columns - column) * part
            first, stop = bisect_right(times, start), bisect_right(times, start + part)
            if first == stop:  # a reading may stand for several parts before it
                stop = min(stop + 1, len(times))
                if not _reaches(times, first, start):
                    continue
            chosen = table[first:stop]
            known = np.isfinite(chosen)
            with np.errstate(invalid="ignore"):
                means[column] = np.where(known, chosen, 0.0).sum(0) / known.sum(0)
        return {name: means[:, number] for number, name in enumerate(names)}


def _reaches(times: list[float], number: int, start: float) -> bool:
    """Whether the time that a reading stands for includes `start`."""
    if not 0 < number < len(times):
        return False
    before = times[number - 1]
    return before <= start and times[number] - before <= LONGEST_GAP_S


def _values(reading: MachineReading) -> dict[str, float]:
    values = {f"core {number}": busy for number, busy in enumerate(reading.cores)}
    if not reading.silent_s:
        for card in reading.cards:
            if card.utilisation is not None:
                values[f"gpu{card.index}"] = card.utilisation
            if card.total:
                values[f"gpu{card.index} memory"] = card.used / card.total
    if reading.memory_total:
        values["memory"] = reading.memory_used / reading.memory_total
    if reading.disk_total and reading.disk_free is not None:
        values["disk"] = 1.0 - reading.disk_free / reading.disk_total
    if reading.traffic is not None:
        values["traffic"] = reading.traffic
    return values
