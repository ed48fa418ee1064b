"""A table of rows that are chosen: Enter opens the one under the cursor."""

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.widgets import DataTable

Cell = TypeVar("Cell")


class RowTable(DataTable[Cell]):
    """Textual's own, with the keys of the first and the last row, and with what Enter does in the footer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "open", id="open"),
        Binding("home", "scroll_top", "first row", id="first", show=False),
        Binding("end", "scroll_bottom", "last row", id="last", show=False),
    ]
