"""The figure of growth.py: a panel for each axis, both scales logarithmic, with a grey line for linear growth."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rbp_engine.report import names
from rbp_engine.report.figure import MARKERS, STYLE
from rbp_engine.report.panels import COLOURS, MIB

#: Axis, unit, title, label of x, and which quantities: all that contain the word.
PANELS = (
    ("timesteps", "s", "A training step, s", "timesteps T", "time"),
    ("timesteps", "bytes", "Kept for the backward, MiB", "timesteps T", "saved"),
    ("depth", "s", "A training step, s", "layers", "time"),
    ("runs", "s", "Starts, lists, reports, s", "runs", ""),
    ("queue", "opened", "Files opened", "waiting jobs", ""),
    ("events", "s", "Monitor, s", "events", ""),
)
GREY = "#999999"
WIDTH, HEIGHT = 9.6, 6.2


def draw(
    lines: Mapping[tuple[str, str, str], Sequence[Any]], exponent: Callable[[Sequence[Any]], float | None], path: Path
) -> None:
    """Draw the lines of points, by axis, quantity and unit, each labelled with its exponent."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE | {"svg.fonttype": "none", "font.family": "sans-serif"}]):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        for axes, (axis, unit, title, label, word) in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
            shown = {key[1]: line for key, line in lines.items() if (key[0], key[2]) == (axis, unit) and word in key[1]}
            scale = 1 / MIB if unit == "bytes" else 1.0
            for number, (quantity, line) in enumerate(shown.items()):
                slope = exponent(line)
                axes.plot(
                    [point.size for point in line],
                    [scale * point.value for point in line],
                    label=_named(quantity) + ("" if slope is None else f": {slope:.2f}"),
                    color=COLOURS[number % len(COLOURS)],
                    marker=MARKERS[number % len(MARKERS)],
                )
            axes.set(xscale="log", yscale="log", title=title, xlabel=label)
            _show_linear(axes)
            sizes = sorted({point.size for line in shown.values() for point in line})
            if sizes and sizes[-1] < 100:  # few and small: a tick for each
                axes.set_xticks(sizes, sizes)
                axes.set_xticks([], minor=True)
            axes.legend(loc="upper left", fontsize=6, frameon=True, edgecolor="none")
            low, high = axes.get_ylim()
            axes.set_ylim(low, high * (high / low) ** 0.45)  # room for the legend
        figure.savefig(path, metadata={"Date": None})


def _named(quantity: str) -> str:
    method, comma, rest = quantity.partition(", ")
    return names.method(method) if comma and rest in ("time", "saved") else quantity


def _show_linear(axes: Any) -> None:
    (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    axes.set_autoscale_on(False)
    for start in range(-20, 20, 2):
        axes.plot([low, high], [10.0**start * low, 10.0**start * high], color=GREY, linewidth=0.4, zorder=0)
    axes.set(xlim=(low, high), ylim=(bottom, top))
