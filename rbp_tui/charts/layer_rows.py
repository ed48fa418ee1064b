"""A table with a row for each layer: numbers, heat and histories, fitted to a width."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from rbp_engine.printable import one_line
from rbp_tui.charts.heatmap import NUMBER, HeatScale
from rbp_tui.text.format import sparkline

Floats: TypeAlias = NDArray[np.float64]
Fitted: TypeAlias = "list[tuple[LayerColumn, int]]"

SHORTEST_NAME, LONGEST_NAME = 6, 28
GAP = 2
SHORTEST_SPARKS, LONGEST_SPARKS = 8, 40
WIDEST_HEAT = 6  # of one value


class LayerColumn(ABC):
    """A column: its heading with the unit, how wide it may be, and what stands in it. Of little room, the column of the
    highest `rank` is left out first, and that of the lowest gets what is left over, in multiples of `unit`."""

    unit = 1

    def __init__(self, heading: str, *, rank: int = 0) -> None:
        self.heading = heading
        self.rank = rank
        self.least = self.most = cell_len(heading)

    def head(self, width: int) -> Text:
        """The heading."""
        return Text(f"{self.heading:<{width}}", "dim")

    @abstractmethod
    def cell(self, row: int, width: int, colours: tuple[str, ...]) -> Text:
        """The contents of a row, `width` cells wide or less; `colours` are those of heat."""

    @abstractmethod
    def plain(self, row: int) -> str:
        """The contents of a row for other programs."""


class Words(LayerColumn):
    """A text for each layer; those of numbers with units end below each other on the `right`."""

    def __init__(self, heading: str, texts: Sequence[str], *, right: bool = False, rank: int = 0) -> None:
        super().__init__(heading, rank=rank)
        self._texts = [one_line(text) for text in texts]
        self._right = right
        self.most = max([self.least, *map(cell_len, self._texts)])
        if right:
            self.least = self.most

    def head(self, width: int) -> Text:
        return Text(f"{self.heading:>{width}}", "dim") if self._right else super().head(width)

    def cell(self, row: int, width: int, colours: tuple[str, ...]) -> Text:
        text = Text(self._texts[row])
        text.truncate(width, overflow="ellipsis")
        if self._right:
            text.pad_left(width - text.cell_len)
        return text

    def plain(self, row: int) -> str:
        return self._texts[row]


class Numbers(LayerColumn):
    """A number for each layer; from `attention` on it is marked. NaN is not known.

    It has `digits` after the point, or three that count, as 1.23e-04, with None. Shares become per cent by a `factor`
    of 100.
    """

    def __init__(
        self,
        heading: str,
        values: Floats,
        *,
        digits: int | None = 1,
        factor: float = 1.0,
        attention: float = math.inf,
        rank: int = 0,
    ) -> None:
        super().__init__(heading, rank=rank)
        self._values = factor * values
        self._format = ".2e" if digits is None else f".{digits}f"
        self._attention = factor * attention
        self.least = self.most = max([cell_len(heading), *(len(self.plain(row)) for row in range(len(values)))])

    def head(self, width: int) -> Text:
        return Text(f"{self.heading:>{width}}", "dim")

    def cell(self, row: int, width: int, colours: tuple[str, ...]) -> Text:
        style = "yellow" if self._values[row] >= self._attention else ""
        number = self.plain(row)
        if number.startswith("-"):
            number = f"−{number[1:]}"
        return Text(f"{number:>{width}}", style)

    def plain(self, row: int) -> str:
        value = float(self._values[row])
        return f"{value:{self._format}}" if math.isfinite(value) else "–"


class Sparks(LayerColumn):
    """The history of each layer as blocks, from `values` [N, L].

    Each is on a scale of its own, from `low`, by default its lowest value, to its highest; or all on one `together`.
    """

    def __init__(
        self, heading: str, values: Floats, *, low: float | None = None, together: bool = False, rank: int = 0
    ) -> None:
        super().__init__(heading, rank=rank)
        self._values = values
        self.least, self.most = max(self.least, SHORTEST_SPARKS), LONGEST_SPARKS
        known = values[np.isfinite(values)]
        self._low = float(known.min()) if together and low is None and known.size else low
        self._high = float(known.max()) if together and known.size else None

    def cell(self, row: int, width: int, colours: tuple[str, ...]) -> Text:
        means = _means(self._values[:, row], width)
        return Text(sparkline(means.tolist(), width, low=self._low, high=self._high), "dim")

    def plain(self, row: int) -> str:
        return " ".join(f"{value:.4g}" for value in self._values[:, row])


class Heat(LayerColumn):
    """A row of a heatmap for each layer, from shares `values` [L, C] up to `top`; `labels` has the names of the C."""

    def __init__(self, heading: str, values: Floats, top: float, labels: Sequence[str], *, rank: int = 0) -> None:
        super().__init__(heading, rank=rank)
        self._values = values
        self.unit = max(1, int(values.shape[1]))
        self.top = top
        self._labels = labels
        self.least = self.unit * math.ceil(len(heading) / self.unit)
        self.most = max(WIDEST_HEAT * self.unit, self.least)

    def _each(self, width: int) -> int:
        return max(1, width // self.unit)

    def head(self, width: int) -> Text:
        """The labels, as far as there is room for them, else the heading."""
        each = self._each(width)
        if each < NUMBER:
            return Text(f"{self.heading:<{width}}", "dim")
        return Text("".join(f"{label[: each - 1]:>{each - 1}} " for label in self._labels), "dim")

    def cell(self, row: int, width: int, colours: tuple[str, ...]) -> Text:
        each = self._each(width)
        return HeatScale(self.top, colours).cells(self._values[row, : width // each].tolist(), each)

    def plain(self, row: int) -> str:
        return " ".join(f"{value:.4g}" for value in self._values[row])


class LayerRows:
    """The rows of a table: the names of the layers on the left, then the columns, as many as there is room for."""

    def __init__(
        self,
        title: str,
        names: Sequence[str],
        columns: Sequence[LayerColumn] = (),
        *,
        note: str = "",
        heading: str = "layer",
    ) -> None:
        """The `title` stands above the headings, with a `note` and the scale of the heat."""
        self.title = title
        self.note = note
        self.names = [one_line(name) for name in names]
        self.columns = columns
        self.heading = heading
        self._fitted: tuple[int, int, Fitted] | None = None  # the width for which it was fitted, and the result

    def __len__(self) -> int:
        return len(self.names)

    def fitted(self, width: int) -> tuple[int, Fitted]:
        """The width of the names, and the columns that fit beside them with their widths."""
        if self._fitted is None or self._fitted[0] != width:
            self._fitted = (width, *self._fit(width))
        return self._fitted[1:]

    def _fit(self, width: int) -> tuple[int, Fitted]:
        longest = max([cell_len(self.heading), SHORTEST_NAME, *map(cell_len, self.names)])
        name = min(longest, LONGEST_NAME, max(SHORTEST_NAME, width // 3))
        kept = list(self.columns)
        while kept and name + sum(GAP + column.least for column in kept) > width:
            # Of equal rank, the last one goes.
            kept.remove(max(reversed(kept), key=lambda column: column.rank))
        free = width - name - sum(GAP + column.least for column in kept)
        widths = {id(column): column.least for column in kept}
        for column in sorted(kept, key=lambda column: column.rank):
            more = min(free, column.most - column.least) // column.unit * column.unit
            widths[id(column)] += more
            free -= more
        return name, [(column, widths[id(column)]) for column in kept]

    def caption(self, width: int, colours: tuple[str, ...], style: Style | str = "bold") -> Text:
        """The title, the note, and the scale of the heat."""
        text = Text.assemble((self.title, style))
        if self.note:
            text.append(f"  {self.note}", "dim")
        heat = next((column for column, _ in self.fitted(width)[1] if isinstance(column, Heat)), None)
        if heat is not None:
            text.append("  ").append_text(HeatScale(heat.top, colours).legend())
        return text

    def head(self, width: int) -> Text:
        """The headings."""
        name, columns = self.fitted(width)
        return _row(Text(f"{self.heading:<{name}}", "dim"), [(column.head(wide), wide) for column, wide in columns])

    def row(self, number: int, width: int, colours: tuple[str, ...]) -> Text:
        """A layer."""
        name, columns = self.fitted(width)
        cells = [(column.cell(number, wide, colours), wide) for column, wide in columns]
        return _row(Text(_end_of(self.names[number], name)), cells)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows for other programs."""
        headings = [self.heading, *(column.heading for column in self.columns)]
        return headings, [
            [name, *(column.plain(row) for column in self.columns)] for row, name in enumerate(self.names)
        ]


def _means(values: Floats, parts: int) -> Floats:
    """The means of at most so many equal parts of the values; NaN where none is known."""
    starts = np.arange(min(parts, len(values))) * len(values) // max(1, min(parts, len(values)))
    if not len(starts):
        return np.empty(0)
    known = np.isfinite(values)
    counts = np.add.reduceat(known.astype(float), starts)
    sums = np.add.reduceat(np.where(known, values, 0.0), starts)
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), np.nan)


def _row(name: Text, cells: Sequence[tuple[Text, int]]) -> Text:
    row = name
    for cell, width in cells:
        row.append(" " * GAP).append_text(cell).append(" " * (width - cell.cell_len))
    return row


def _end_of(name: str, width: int) -> str:
    """The name, or its end, which tells layers apart better than its start."""
    if cell_len(name) > width:
        while name and cell_len(name) > width - 1:
            name = name[1:]
        name = f"…{name}"
    return name + " " * (width - cell_len(name))
