"""Columns of tables with a row for each layer: names, numbers, heat and histories, for the dashboard and commands."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from rbp_engine.printable import one_line
from rbp_tui.charts.heatmap import NUMBER, HeatScale
from rbp_tui.text.format import sparkline
from rbp_tui.text.run_columns import shortened
from rbp_tui.text.text_table import TextColumn, column

Floats: TypeAlias = NDArray[np.float64]

SPARKS, HEAT = 12, 24  # cells of a history, and of a row of a heatmap where it has few values
LONGEST_NAME = 28


@dataclass(frozen=True)
class LayerRows:
    """A table: its title and a note beside it, and the columns, that of the names first, then the most important."""

    title: str
    columns: Sequence[TextColumn]
    note: str = ""


def layer_names(names: Sequence[str], heading: str = "layer") -> TextColumn:
    """The name of each layer; a long one loses its middle."""
    return column(heading, [Text(shortened(one_line(name), LONGEST_NAME, middle=True)) for name in names])


def words(heading: str, texts: Sequence[str], *, right: bool = False) -> TextColumn:
    """A text for each layer."""
    return column(heading, [Text(one_line(text)) for text in texts], right=right)


def numbers(
    heading: str, values: Floats, *, digits: int | None = 1, factor: float = 1.0, attention: float = math.inf
) -> TextColumn:
    """A number for each layer; from `attention` on it is marked. NaN is not known.

    It has `digits` after the point, or three that count, as 1.23e-04, with None. Shares become per cent by a `factor`
    of 100.
    """
    form = ".2e" if digits is None else f".{digits}f"
    texts = [f"{factor * value:{form}}" if math.isfinite(value) else "–" for value in values.tolist()]
    styles = ["yellow" if value >= attention else "" for value in values.tolist()]
    return column(heading, [Text(*pair) for pair in zip(texts, styles, strict=True)], right=True)


def sparks(heading: str, values: Floats, *, low: float | None = None, together: bool = False) -> TextColumn:
    """The history of each layer as blocks, from `values` [N, L].

    Each is on a scale of its own, from `low`, by default its lowest value, to its highest; or all on one `together`.
    """
    known = values[np.isfinite(values)]
    high = float(known.max()) if together and known.size else None
    drawn = [sparkline(layer.tolist(), SPARKS, low=low, high=high) for layer in values.T]
    return column(heading, [Text(line, "dim") for line in drawn])


def heat(values: Floats, top: float, colours: tuple[str, ...], each: int | None = None) -> TextColumn:
    """A row of a heatmap for each layer, from shares `values` [L, T] up to `top`, one for each timestep.

    `each` is how many cells wide a value is. The terminal has few colours if there are none of heat.
    """
    timesteps = values.shape[1]
    each = each or max(1, HEAT // max(1, timesteps))
    heading = (
        "".join(f"{t:>{each - 1}} " for t in range(1, timesteps + 1)) if each >= NUMBER else f"t = 1 … {timesteps}"
    )
    return column(heading, [HeatScale(top, colours).cells(row, each) for row in values.tolist()])
