"""What the charts of a run mark on the x axis: where it was resumed, and where it compiled."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history import Attempt
from rbp_tui.charts.series import XMark

# No event says that a run compiles: its first steps take many times as long as others, and not to wait for data.
SLOW = 4.0
FEWEST, LOOKED_AT = 4, 10_000  # measurements that tell what is usual


def timeline(curves: dict[str, Curve]) -> Curve | None:
    """A curve that says at which epoch and time each step was; None without any."""
    return next((curves[name] for name in ("train/loss", "step_ms", "memory") if name in curves), None)


def resumes(curves: dict[str, Curve], attempts: Sequence[Attempt], axis: str) -> list[XMark]:
    """Where attempts but the first have begun, over "step", "epoch" or "time"."""
    known = timeline(curves)
    if known is None:
        return []
    steps = [float(attempt.start.step) for attempt in attempts[1:]]
    return [XMark(float(x), "resume") for x in np.interp(steps, known.step, known.axis(axis))]


def compilations(curves: dict[str, Curve], attempts: Sequence[Attempt], axis: str) -> list[XMark]:
    """The first measurement of each attempt whose steps took far longer than usual to compute."""
    step, data = curves.get("step_ms"), curves.get("data_ms")
    if step is None:
        return []

    def computing(points: slice | int) -> Any:
        return step.value[points] - (0.0 if data is None else np.nan_to_num(data.value[points]))

    looked_at = computing(slice(None, None, 1 + len(step) // LOOKED_AT))
    if np.count_nonzero(np.isfinite(looked_at)) < FEWEST:
        return []
    slow = SLOW * np.nanmedian(looked_at)
    firsts = np.searchsorted(step.step, [attempt.start.step for attempt in attempts], side="right")
    return [XMark(float(step.axis(axis)[at]), "compile") for at in firsts if at < len(step) and computing(at) > slow]
