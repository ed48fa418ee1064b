"""A table of rows that are chosen: Enter opens the one under the cursor."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, TypeVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable

from rbp_tui.text.text_table import TextColumn

Cell = TypeVar("Cell")


def hidden_in_help(kind: type[Widget], but: Collection[str] = ()) -> list[BindingType]:
    """The bindings of one of Textual's own classes, as ones that the help leaves out, `but` these keys."""
    inherited = [Binding.make_bindings(vars(one).get("BINDINGS", ())) for one in reversed(kind.__mro__)]
    known = {binding.key: binding for bindings in inherited for binding in bindings}
    return [replace(binding, system=True) for binding in known.values() if binding.key not in but]


class RowTable(DataTable[Cell]):
    """Textual's own, with the keys of the first and the last row, and with what Enter does in the footer."""

    #: The help lists the keys of runs at once, and not those that any table has before them.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "open", id="open"),
        Binding("home", "scroll_top", "first row", id="first", show=False),
        Binding("end", "scroll_bottom", "last row", id="last", show=False),
        *hidden_in_help(DataTable, but=("enter", "home", "end")),
    ]

    @property
    def current_key(self) -> str | None:
        """The key of the row under the cursor."""
        if not self.is_valid_row_index(self.cursor_row):
            return None
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value

    def show_columns(self: "RowTable[Text]", columns: Sequence[TextColumn], keys: Iterable[str] | None = None) -> None:
        """Show these columns, whose rows have these keys, else their numbers; the cursor stays on its row."""
        titles, held = [one.title for one in columns], self.current_key
        if titles != [column.label for column in self.ordered_columns]:
            self.clear(columns=True)
            self.add_columns(*titles)
        cells = list(zip(*(one.cells for one in columns), strict=True))
        self.show_rows(dict(zip(keys or map(str, range(len(cells))), cells, strict=True)), held)

    def show_rows(self, rows: Mapping[str, Sequence[Cell]], held: str | None = None) -> None:
        """Show these rows; the cursor stays on its row, or goes to that of the key `held`."""
        if list(rows) == [row.key.value for row in self.ordered_rows]:
            for key, cells in rows.items():
                for column, cell in zip(self.columns, cells, strict=True):
                    if self.get_cell(key, column) != cell:
                        self.update_cell(key, column, cell, update_width=True)
            return
        held = held or self.current_key
        self.clear()
        for key, cells in rows.items():
            self.add_row(*cells, key=key)
        if held is not None and held in rows:
            self.move_cursor(row=list(rows).index(held))
