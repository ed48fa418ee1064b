"""The curves of a run as arrays, built from its events as they arrive."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rbp_engine.run.files.events import TEST, Event, Metrics, RunStart, System, Validation, done_again

Floats = NDArray[np.float64]

TRAINING = ("train/loss", "train/top1", "lr", "speed", "step_ms", "data_ms")
VALIDATION = ("validation/loss", "validation/top1")
SYSTEM = ("memory", "mem_reserved", "mem_peak", "rank_data_ms")


@dataclass(frozen=True)
class Curve:
    """Values over steps, epochs and seconds of training (without the time between attempts), all [N]; gaps are NaN."""

    step: Floats
    epoch: Floats
    seconds: Floats
    value: Floats

    def __len__(self) -> int:
        return len(self.value)

    def axis(self, name: str) -> Floats:
        """The x values for "step", "epoch" or "time"."""
        return {"step": self.step, "epoch": self.epoch, "time": self.seconds}[name]


class CurveBuilder:
    """Collects events of one run; `curves()` is a snapshot that later events do not change.

    `split` is the data on which epochs are evaluated. After training on held-out data there is one more evaluation, on
    the test set, which is not part of a curve.

    Curves by name: "train/loss", "train/top1", "validation/loss", "validation/top1" (of the last weights), "lr" (the
    learning rate), "speed" (samples/s), "step_ms", "data_ms", and in bytes "memory" (allocated on the GPU, resident on
    a CPU), "mem_reserved", "mem_peak"; "rank_data_ms" is the wait for data a step, at each reading of the memory. Of
    ranks other than 0 only these are kept, as "memory/1" and so on.

    Events of several ranks may come in any order within an attempt, but attempts one after the other.
    """

    def __init__(self) -> None:
        self.split = ""
        self._tables: dict[tuple[str, ...], _Table] = {}
        self._steps_per_epoch = 0
        self._attempt = 0
        self._pause = 0.0
        self._last_t: float | None = None

    def add(self, event: Event) -> None:
        """Add the next event; the start of an attempt drops what it repeats."""
        body = event.body
        if event.attempt != self._attempt:  # the first event of any of its ranks; the clock may have been set back
            self._attempt = event.attempt
            self._pause = event.t if self._last_t is None else self._pause + event.t - self._last_t
            self._last_t = event.t
        if isinstance(body, Metrics):
            if event.rank == 0:
                values = (body.loss, body.top1, body.lr, body.samples_per_s, body.step_ms, body.data_ms)
                self._row(TRAINING, event, values)
        elif isinstance(body, System):
            names = tuple(f"{name}/{event.rank}" for name in SYSTEM) if event.rank else SYSTEM
            self._row(names, event, (body.used, body.mem_reserved, body.mem_peak, body.data_ms))
        elif isinstance(body, Validation):
            if not self.split or self.split == TEST != body.split:  # another program holds data out without saying so
                self.split = body.split
                self._tables.pop(VALIDATION, None)
            if body.weights == "last" and body.split == self.split:
                self._row(VALIDATION, event, (body.loss, body.top1), body.epoch)
        elif isinstance(body, RunStart) and event.rank == 0:
            self._begin_attempt(event, body)
        self._last_t = event.t if self._last_t is None else max(self._last_t, event.t)

    def curves(self) -> dict[str, Curve]:
        """All curves with a value so far, by name. A curve that has not changed is the same object as before."""
        return {name: curve for table in self._tables.values() for name, curve in table.curves().items()}

    def _begin_attempt(self, event: Event, body: RunStart) -> None:
        for table in self._tables.values():
            table.drop(event, body)
        if body.steps_per_epoch:
            self._steps_per_epoch = body.steps_per_epoch
        if body.gap_from is not None:
            self._leave_gap(event, body)

    def _leave_gap(self, event: Event, start: RunStart) -> None:
        """Add a row without values, to break the lines where events were lost; no evaluation need be missing."""
        for names, table in self._tables.items():
            evaluated = names == VALIDATION
            if not evaluated or (start.epoch is not None and table.newest_epoch < start.epoch):
                self._row(names, event, [None] * len(names), start.epoch if evaluated else None)

    def _row(self, names: tuple[str, ...], event: Event, values: Sequence[Any], epoch: Any = None) -> None:
        if epoch is None and self._steps_per_epoch:
            epoch = event.step / self._steps_per_epoch
        table = self._tables.get(names)
        if table is None:
            table = self._tables[names] = _Table(names)
        seconds = max(0.0, event.t - self._pause)
        table.add([event.attempt, event.step, epoch, seconds, *values])


class _Table:
    """Rows of attempt, step, epoch, seconds and values; snapshots are views of its columns, never overwritten.

    `_known` says of each column whether it has a number: a snapshot need not look through millions of rows for one.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._columns = np.empty((4 + len(names), 64))
        self._known: NDArray[np.bool_] = np.zeros(4 + len(names), dtype=np.bool_)
        self._count = 0
        self._curves: dict[str, Curve] | None = None

    def add(self, row: list[Any]) -> None:
        if self._count == self._columns.shape[1]:
            self._columns = np.pad(self._columns, ((0, 0), (0, 64 + self._count)))
        numbers = self._columns[:, self._count]
        numbers[:] = row  # None becomes NaN
        self._known |= ~np.isnan(numbers)
        self._count += 1
        self._curves = None

    def curves(self) -> dict[str, Curve]:
        """The columns of values as curves."""
        if self._curves is None:
            _, step, epoch, seconds, *values = self._columns[:, : self._count]
            found = zip(self.names, values, self._known[4:], strict=True)
            self._curves = {name: Curve(step, epoch, seconds, one) for name, one, known in found if known}
        return self._curves

    @property
    def newest_epoch(self) -> float:
        """The epoch of the last row; 0 without one."""
        return float(self._columns[2, self._count - 1]) if self._count else 0.0

    def drop(self, event: Event, start: RunStart) -> None:
        """Drop the rows that the attempt beginning with this event repeats."""
        attempt, step, epoch = self._columns[:3, : self._count]
        kept = ~done_again(attempt, step, epoch if self.names == VALIDATION else None, event, start)
        if kept.all():
            return
        self._columns = self._columns[:, : self._count][:, kept]
        self._count = self._columns.shape[1]
        self._known = np.any(~np.isnan(self._columns), axis=1)
        self._curves = None
