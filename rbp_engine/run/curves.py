"""The curves of a run as arrays, put together from its events as they come."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbp_engine.run.events import Event, Metrics, RunStart, System, Validation, superseded

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Values over steps, epochs and seconds of training (time between attempts left out), all [N]; gaps are NaN."""

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

    Curves by name: "train/loss", "train/top1", "validation/loss", "validation/top1" (of the last weights), "speed"
    (samples/s), "step_ms", "data_ms", and "memory" in bytes (allocated on the GPU, resident on a CPU), "mem_peak".
    """

    def __init__(self) -> None:
        self._points: dict[str, list[tuple[int, float, float, float, Event]]] = {}
        self._steps_per_epoch = 0
        self._pause = 0.0
        self._last_t: float | None = None

    def add(self, events: Iterable[Event]) -> None:
        """Take in the next events; what a later attempt has superseded goes."""
        for event in events:
            body = event.body
            if isinstance(body, RunStart):
                self._begin_attempt(event, body)
            elif isinstance(body, Metrics):
                self._point("train/loss", event, body.loss)
                self._point("train/top1", event, body.top1)
                self._point("speed", event, body.samples_per_s)
                self._point("step_ms", event, body.step_ms)
                self._point("data_ms", event, body.data_ms)
            elif isinstance(body, Validation) and body.weights == "last":
                self._point("validation/loss", event, body.loss, float(body.epoch))
                self._point("validation/top1", event, body.top1, float(body.epoch))
            elif isinstance(body, System):
                self._point("memory", event, body.rss if body.mem_allocated is None else body.mem_allocated)
                self._point("mem_peak", event, body.mem_peak)
            self._last_t = event.t if self._last_t is None else max(self._last_t, event.t)

    def curves(self) -> dict[str, Curve]:
        """All curves so far, by name; those without a point are left out."""
        found = {}
        for name, points in self._points.items():
            if points:
                columns = np.array([point[:4] for point in points], dtype=np.float64).T
                found[name] = Curve(*columns)
        return found

    def _begin_attempt(self, event: Event, body: RunStart) -> None:
        for points in self._points.values():
            points[:] = [point for point in points if not superseded(point[4], event, body)]
        if body.steps_per_epoch:
            self._steps_per_epoch = body.steps_per_epoch
        if self._last_t is None:
            self._pause = event.t
        else:
            self._pause += max(0.0, event.t - self._last_t)

    def _point(self, name: str, event: Event, value: float | None, epoch: float | None = None) -> None:
        if epoch is None:
            epoch = event.step / self._steps_per_epoch if self._steps_per_epoch else float("nan")
        seconds = max(0.0, event.t - self._pause)
        number = float("nan") if value is None else float(value)
        self._points.setdefault(name, []).append((event.step, epoch, seconds, number, event))
