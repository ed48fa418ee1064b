"""Tables with a row for each layer: numbers, heat and histories, for the dashboard and for commands."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from rbp_engine.printable import one_line
from rbp_tui.charts.heatmap import NUMBER, HeatScale
from rbp_tui.text.format import sparkline
from rbp_tui.text.run_columns import shortened

if TYPE_CHECKING:
    from rich.table import Table

Floats: TypeAlias = NDArray[np.float64]
#: The cells of a column for the colours of heat, none where the terminal has few.
Cells: TypeAlias = Callable[[tuple[str, ...]], list[Text]]

SPARKS, HEAT = 12, 24  # cells of a history, and of a row of a heatmap where it has few values
LONGEST_NAME = 28


@dataclass(frozen=True)
class LayerColumn:
    """A column: its heading with the unit, and a cell for each layer."""

    heading: str
    cells: Cells
    right: bool = True


def words(heading: str, texts: Sequence[str], *, right: bool = False) -> LayerColumn:
    """A text for each layer."""
    return LayerColumn(heading, lambda colours: [Text(one_line(text)) for text in texts], right)


def numbers(
    heading: str, values: Floats, *, digits: int | None = 1, factor: float = 1.0, attention: float = math.inf
) -> LayerColumn:
    """A number for each layer; from `attention` on it is marked. NaN is not known.

    It has `digits` after the point, or three that count, as 1.23e-04, with None. Shares become per cent by a `factor`
    of 100.
    """
    form = ".2e" if digits is None else f".{digits}f"
    texts = [f"{factor * value:{form}}" if math.isfinite(value) else "–" for value in values.tolist()]
    styles = ["yellow" if value >= attention else "" for value in values.tolist()]
    return LayerColumn(heading, lambda colours: [Text(*pair) for pair in zip(texts, styles, strict=True)])


def sparks(heading: str, values: Floats, *, low: float | None = None, together: bool = False) -> LayerColumn:
    """The history of each layer as blocks, from `values` [N, L].

    Each is on a scale of its own, from `low`, by default its lowest value, to its highest; or all on one `together`.
    """
    known = values[np.isfinite(values)]
    high = float(known.max()) if together and known.size else None
    drawn = [sparkline(layer.tolist(), SPARKS, low=low, high=high) for layer in values.T]
    return LayerColumn(heading, lambda colours: [Text(line, "dim") for line in drawn], right=False)


def heat(values: Floats, top: float) -> LayerColumn:
    """A row of a heatmap for each layer, from shares `values` [L, T] up to `top`, one for each timestep."""
    timesteps = values.shape[1]
    each = max(1, HEAT // max(1, timesteps))
    heading = (
        "".join(f"{t:>{each - 1}} " for t in range(1, timesteps + 1)) if each >= NUMBER else f"t = 1 … {timesteps}"
    )

    def cells(colours: tuple[str, ...]) -> list[Text]:
        return [HeatScale(top, colours).cells(row, each) for row in values.tolist()]

    return LayerColumn(heading, cells, right=False)


@dataclass(frozen=True)
class LayerRows:
    """A table: its title and a note beside it, the names of the layers, and the columns, the most important first."""

    title: str
    names: Sequence[str]
    columns: Sequence[LayerColumn] = ()
    note: str = ""
    heading: str = "layer"

    def headings(self) -> list[Text]:
        """The headings of the columns, that of the names first."""
        first = Text(self.heading)
        return [first, *(Text(one.heading, justify="right" if one.right else "left") for one in self.columns)]

    def rows(self, colours: tuple[str, ...] = ()) -> list[tuple[Text, ...]]:
        """The cells of each layer, its name first; a long one loses its middle."""
        names = [Text(shortened(one_line(name), LONGEST_NAME, middle=True)) for name in self.names]
        columns = [column.cells(colours) for column in self.columns]
        for column, cells in zip(self.columns, columns, strict=True):
            for cell in cells:
                cell.justify = "right" if column.right else "left"
        return list(zip(names, *columns, strict=True))


def layer_table(rows: LayerRows) -> "Table":
    """The rows for a command."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in rows.headings():
        table.add_column(heading, justify=heading.justify or "left", no_wrap=True)
    for cells in rows.rows():
        table.add_row(*cells)
    return table
