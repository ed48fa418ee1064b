"""The curves of a run, as the series of a chart or as a line of blocks."""

from collections.abc import Sequence

import numpy as np

from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history import History
from rbp_tui.charts.series import Series
from rbp_tui.text.format import sparkline

#: A line of a chart: the name of its curve, its label, and whether its highest value gets a star. That of evaluations
#: has no label: it says whether they are on the test set.
Lines = Sequence[tuple[str, str, bool]]

LOSS: Lines = (("train/loss", "train", False), ("validation/loss", "", False))
TOP1: Lines = (("train/top1", "train", False), ("validation/top1", "", True))


def series_of(history: History, lines: Lines, axis: str, scale: float = 1.0) -> list[Series]:
    """Those of the lines that there are, over "step", "epoch" or "time", with their values times `scale`."""
    evaluated = "test" if history.split == "test" else "validation"
    return [
        Series(named, named, curve.axis(axis), curve.value, scale, marker="highest" if best else None)
        for name, label, best in lines
        for named in [label or evaluated]
        if (curve := history.curves.get(name)) is not None
    ]


def blocks(curve: Curve | None, end_s: float | None, width: int, *, log: bool = False, low: float | None = None) -> str:
    """A curve as `width` blocks over the seconds of training from 0 to `end_s`, by default its own end.

    They are scaled from `low`, by default its lowest value, to its highest. A column without a point repeats the one
    before; those before the first point are blank.
    """
    known = np.flatnonzero(np.isfinite(curve.value)) if curve is not None else np.empty(0, int)
    if curve is None or not len(known) or width < 1:
        return " " * max(0, width)
    end = float(curve.seconds[-1]) if end_s is None else end_s
    values = np.log(np.maximum(curve.value[known], 1e-12)) if log else curve.value[known]
    columns = np.clip(np.ceil(width * curve.seconds[known] / max(end, 1e-9)) - 1, 0, width - 1).astype(int)
    sums, counts = np.bincount(columns, values, width), np.bincount(columns, minlength=width)
    newest = np.maximum.accumulate(np.where(counts > 0, np.arange(width), -1))
    means = (sums / np.maximum(counts, 1))[newest]
    return sparkline(np.where(newest < 0, np.nan, means).tolist(), width, low=low)
