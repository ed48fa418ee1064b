"""A figure of what a network takes for what: the confusion matrix, and the most confident mistakes as images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rbp_engine.report.figure import PAGE, escaped, write_figure
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.evaluation_json import ByClass, Mistake

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: How many mistakes are drawn, in rows of ACROSS.
DRAWN, ACROSS = 16, 4
HEIGHT = 3.6  # inches
# Up to so many classes have their names at the matrix, and their counts in it.
NAMED = 20
MOST_CLASSES = 2000
LONGEST_LABEL = 14


def draw_mistakes(found: ByClass, pictures: Sequence[NDArray[Any]], path: Path) -> None:
    """Write the figure; the suffix of `path` is its format, see `figure.check_path`.

    `pictures` are the first mistakes of `found.worst`, grey [H, W] or RGB [H, W, 3], of values from 0 to 1. Raises
    RunError if the file cannot be written, or there are more classes than a figure has dots.
    """
    if len(found.classes) > MOST_CLASSES:
        raise RunError(f"a figure has no room for a confusion matrix of {len(found.classes)} classes")
    write_figure(lambda: compose_mistakes(found, pictures), path, **{"axes.grid": False})


def compose_mistakes(found: ByClass, pictures: Sequence[NDArray[Any]]) -> "Figure":
    """The figure: the matrix, and beside it the mistakes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PAGE, HEIGHT), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[1.05, 1.0])[0]
    _draw_matrix(left.subplots(), found)
    places = right.subplots(-(-DRAWN // ACROSS), ACROSS).flatten()
    for axes in places:
        axes.set_axis_off()
    for axes, mistake, picture in zip(places, found.worst, pictures, strict=False):
        _draw_mistake(axes, found, mistake, picture)
    return figure


def _draw_matrix(axes: "Axes", found: ByClass) -> None:
    """Rows are classes, each relative to its number of samples, so that rare classes are seen as well."""
    counts = np.array(found.matrix(), dtype=float)
    share = counts / np.maximum(1.0, counts.sum(1, keepdims=True))
    # A few mistakes among many right ones would be white on a linear scale.
    axes.imshow(np.sqrt(share), cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set_xlabel("predicted")
    axes.set_ylabel("class")
    if len(counts) > NAMED:
        return
    names = [escaped(_short(one.name)) for one in found.classes]
    axes.set_xticks(range(len(names)), names, rotation=0 if max(map(len, names)) < 3 else 90)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if share[row, column] > 0.4 else "black"
        text = f"{counts[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=6 if len(names) <= 10 else 4)


def _draw_mistake(axes: "Axes", found: ByClass, mistake: Mistake, picture: NDArray[Any]) -> None:
    axes.imshow(picture, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    label, predicted = (_short(found.classes[one].name) for one in (mistake.label, mistake.predicted))
    said = f"{label} → {predicted}\n{100 * mistake.confidence:.0f} %, #{mistake.index}"
    axes.set_title(escaped(said), fontsize=5.5, pad=2)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"
