"""Curves of several experiments as a CSV table for other programs: one line per point."""

import csv
import io
import math
from collections.abc import Iterable

from rbp_engine.printable import Lines, for_csv, visible
from rbp_engine.report.seed_statistics import MeanCurve


def curves_csv(curves: Iterable[tuple[str, MeanCurve]], x: str, y: str) -> Lines:
    """The curves with their titles; `x` and `y` name the columns of x values and means.

    Column `runs` is the number of runs in the mean, `std` their sample standard deviation, empty for a single run.
    Units are those of the curves: fractions, seconds, bytes. A gap has no line.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["title", "runs", x, y, "std"])
    for title, curve in curves:
        stds = [""] * len(curve.x) if curve.std is None else curve.std.tolist()
        for place, mean, std in zip(curve.x.tolist(), curve.mean.tolist(), stds, strict=True):
            if not math.isnan(mean):
                writer.writerow([for_csv(title), curve.count, place, mean, std])
    return visible(out.getvalue())
