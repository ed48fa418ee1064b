"""What the charts of a run mark on the x axis: where it was resumed, and where it compiled."""

from collections.abc import Sequence

import numpy as np

from rbp_engine.run.status.curves import Curve
from rbp_engine.run.status.history import Attempt
from rbp_tui.charts.series import XMark

# No event says that a run compiles: its first steps take many times as long as others, and not to wait for data.
SLOW = 4.0
FEWEST = 4  # measurements that tell what is usual


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
    if step is None or np.count_nonzero(np.isfinite(step.value)) < FEWEST:
        return []
    computing = step.value if data is None else step.value - np.nan_to_num(data.value)
    firsts = np.searchsorted(step.step, [attempt.start.step for attempt in attempts], side="right")
    slow = computing > SLOW * np.nanmedian(computing)
    return [XMark(float(step.axis(axis)[first]), "compile") for first in firsts if first < len(step) and slow[first]]
