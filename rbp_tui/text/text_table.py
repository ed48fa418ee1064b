"""Tables: columns of cells, which Rich prints for a command and the dashboard shows, and tables filled row by row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Column, Table
from rich.text import Text


@dataclass(frozen=True)
class TextColumn:
    """Its heading, with the unit, and a cell for each row."""

    heading: str
    cells: Sequence[Text]
    right: bool = False

    @property
    def title(self) -> Text:
        """The heading, on the side of its cells."""
        return Text(self.heading, justify="right" if self.right else "left")

    @property
    def width(self) -> int:
        """The width at which nothing is cut."""
        return max(text.cell_len for text in (self.title, *self.cells))


def column(heading: str, cells: Sequence[Text], *, right: bool = False) -> TextColumn:
    """A column whose cells stand on its side, whatever draws them."""
    for cell in cells:
        cell.justify = "right" if right else "left"
    return TextColumn(heading, cells, right)


def filled_table(columns: Sequence[TextColumn]) -> Table:
    """The columns for a command."""
    table = empty_table([Column(one.title, justify="right" if one.right else "left", no_wrap=True) for one in columns])
    for cells in zip(*(one.cells for one in columns), strict=True):
        table.add_row(*cells)
    return table


def empty_table(words: Sequence[str | Column], numbers: Sequence[str] = (), **options: Any) -> Table:
    """A table without rows: columns of words, which are cut, unless a `Column` says otherwise, then of numbers."""
    left = [Column(Text(one), no_wrap=True, overflow="ellipsis") if isinstance(one, str) else one for one in words]
    right = [Column(Text(heading), justify="right", no_wrap=True, min_width=len(heading)) for heading in numbers]
    return Table(*left, *right, box=None, pad_edge=False, header_style="dim", **options)
