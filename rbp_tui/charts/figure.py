"""A chart as a figure on paper: `python -m rbp_tui.charts.figure PATH`, with its description as JSON on standard input.

It looks like the figures of `rbp figure`. The dashboard runs it as a process and never imports matplotlib itself.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from rbp_engine.report.figure import COLUMN, HEIGHT, STYLE, escaped

# A legend with more lines than this would be higher than the plot beside it.
LEGEND_LINES = 12
XLABELS = {"epoch": "Epoch", "step": "Step", "time": "Seconds", "GiB": "Peak memory (GiB)"}


def draw(chart: dict[str, Any], path: Path) -> None:
    """Draw a chart as `dashboard/export.py` describes it; the suffix of `path` is the format."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):
        figure = Figure(figsize=(1.5 * COLUMN, 1.3 * HEIGHT), layout="constrained")
        axes = figure.subplots()
        for one in chart["series"]:
            x, y = (_numbers(one[name]) for name in ("x", "y"))
            # A single point gives no line.
            axes.plot(x, y, label=escaped(one["label"]), color=one["colour"], marker="o" if len(x) == 1 else "")
            if "low" in one:
                low, high = (_numbers(one[name]) for name in ("low", "high"))
                axes.fill_between(x, low, high, color=one["colour"], alpha=0.2, linewidth=0)
        axes.set_xlabel(XLABELS.get(chart["x"], escaped(chart["x"])))
        axes.set_ylabel(escaped(chart["title"]))
        axes.set_xscale("log" if chart["x_log"] else "linear")
        axes.set_yscale("log" if chart["y_log"] else "linear")
        if 1 < len(chart["series"]) <= LEGEND_LINES:
            axes.legend()
        figure.savefig(path)


def _numbers(values: list[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


if __name__ == "__main__":
    draw(json.load(sys.stdin), Path(sys.argv[1]))
