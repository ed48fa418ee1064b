"""The table of the runs that use this machine now."""

from rich.text import Text

from rbp_tui.dashboard.system.uses import COLUMNS, Cells
from rbp_tui.dashboard.table import RowTable

RIGHT = ("procs", "memory", "cores")


class UseTable(RowTable[Text]):
    """The runs that use this machine, by their folders."""

    def on_mount(self) -> None:
        """Create the columns."""
        self.add_columns(*((Text(name, justify="right" if name in RIGHT else "left"), name) for name in COLUMNS))

    def show(self, rows: dict[str, Cells]) -> None:
        """Show these rows; the cursor stays on its run."""
        if rows.keys() == {key.value for key in self.rows}:
            for key, cells in rows.items():
                for column, cell in zip(COLUMNS, cells, strict=True):
                    self.update_cell(key, column, cell, update_width=True)
            return
        held = self.current
        self.clear()
        for key, cells in rows.items():
            self.add_row(*cells, key=key)
        if held in rows:
            self.move_cursor(row=list(rows).index(held))

    @property
    def current(self) -> str | None:
        """The folder of the run under the cursor."""
        if not self.is_valid_row_index(self.cursor_row):
            return None
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value
