"""The table of runs: Textual's own, updated row by row, with the cursor staying on its run."""

from rich.text import Text
from textual.message import Message
from textual.widgets.data_table import ColumnKey

from rbp_engine.run.store.query import descends, reversed_order
from rbp_tui.dashboard.row_table import RowTable
from rbp_tui.dashboard.runs.columns import TableCell
from rbp_tui.dashboard.runs.rows import Cells, Rows
from rbp_tui.text.run_columns import GAP, PlacedColumn

# A frame takes forty milliseconds: the visible rows are added first, then the rest in a few steps.
FIRST_ROWS, ROWS_AT_ONCE = 100, 600
# Removing one row takes a millisecond.
REMOVED_AT_ONCE = 50
MARK, SIGN, KEY = "mark", "sign", "key"


class RunTable(RowTable[TableCell]):
    """Shows `Rows`. A hidden column has the key of each row, so that the table can be sorted in any order."""

    class ShownRows(Message):
        """The visible rows have changed."""

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cell_padding=0)
        self._rows = Rows()
        self._placed: tuple[PlacedColumn, ...] | None = None
        self._sort = ""
        self._order: list[str] = []
        self._filled: dict[str, Cells] = {}
        self._held: str | None = None  # the row that the cursor will return to
        self._seen: list[str] = []

    @property
    def visible_keys(self) -> list[str]:
        """The keys of the visible rows."""
        top = int(self.scroll_y)
        return self._order[top : top + max(0, self.size.height - self.header_height)]

    @property
    def current_key(self) -> str | None:
        """The key of the row under the cursor, also while the table is filled anew, with the cursor elsewhere."""
        return self._held or super().current_key

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._post_shown_rows()

    def on_resize(self) -> None:
        self._post_shown_rows()

    def _post_shown_rows(self) -> None:
        if self._seen != self.visible_keys:
            self._seen = self.visible_keys
            self.post_message(self.ShownRows())

    def show(self, rows: Rows, sort: str, onto: str | None = None) -> None:
        """Show these rows; `sort` is the field that they are sorted by, for the arrow in its heading.

        The cursor goes to the row `onto` if given, and otherwise stays on its row.
        """
        self._held = onto or self._held or self.current_key
        self._rows = rows
        self._take_columns(rows.placed, sort)
        gone = [key for key in self._order if key not in rows.cells]
        if len(gone) > REMOVED_AT_ONCE:
            self.clear()
            self._order, self._filled = [], {}
        for key in gone if self._order else ():
            self.remove_row(key)
            self._order.remove(key)
            del self._filled[key]
        for key, cells in self._filled.items():
            self._update(key, cells, rows.cells[key])
        self._filled = {key: rows.cells[key] for key in self._filled}
        self._fill(first=True)

    def _take_columns(self, placed: tuple[PlacedColumn, ...], sort: str) -> None:
        if placed != self._placed:
            self.clear(columns=True)
            self._placed, self._order, self._filled = placed, [], {}
            self.add_column("", width=1, key=MARK)
            self.add_column("", width=1, key=SIGN)
            for place in placed:
                self.add_column(_heading(place, sort), width=place.width + GAP, key=place.column.name)
            self.add_column("", width=0, key=KEY)
        elif sort != self._sort:
            for place in placed:
                self.columns[ColumnKey(place.column.name)].label = _heading(place, sort)
        self._sort = sort

    def _update(self, key: str, old: Cells, new: Cells) -> None:
        if old is not new:
            names = [MARK, SIGN, *(place.column.name for place in self._rows.placed)]
            for name, before, after in zip(names, old, new, strict=True):
                if before != after:
                    self.update_cell(key, name, after)

    def _fill(self, *, first: bool = False) -> None:
        """Add the next missing rows, and sort all."""
        missing = [key for key in self._rows.cells if key not in self._filled]
        coming = missing[: ROWS_AT_ONCE if self._filled else FIRST_ROWS]
        for key in coming:
            self._filled[key] = self._rows.cells[key]
            self.add_row(*self._filled[key], TableCell(key), key=key)
            self._order.append(key)
        order = [key for key in self._rows.cells if key in self._filled]
        if first or order != self._order:
            position = {key: number for number, key in enumerate(order)}
            self.sort(KEY, key=lambda cell: position[cell.text])
            self._order = order
        self._post_shown_rows()
        if self._held in self._filled:
            row = self._order.index(self._held)
            if row != self.cursor_row:
                self.move_cursor(row=row)
            self._held = None
        if len(coming) < len(missing):
            self.call_after_refresh(self._fill)
        else:
            self._held = None


def _heading(place: PlacedColumn, sort: str) -> Text:
    """The title of a column; if the table is sorted by it, an arrow beside it shows the direction."""
    sorts = bool(place.column.sort) and place.column.sort in (sort, reversed_order(sort))
    arrow = ("↓" if descends(sort) else "↑") if sorts else ""
    title, room = place.column.title, place.width + GAP
    if place.column.right:
        text = f"{arrow}{title}".rjust(room)
    else:
        text = f"{' ' * GAP}{title} {arrow}" if len(title) + 2 <= place.width else f"{arrow or ' '}{title}"
    # Headings on the right touch: the one that is meant stands out as a whole.
    return Text(text, style="bold reverse" if sorts else "", end="")
