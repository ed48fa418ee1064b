"""The dialog for the columns of the table of runs, and the sort order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from rbp_tui.dashboard.runs.columns import COLUMNS, Column


@dataclass(frozen=True)
class ColumnChoice:
    """The names of the columns: empty for as many as fit, None if unchanged; and the column to sort by, if any."""

    columns: tuple[str, ...] | None
    sort_by: str = ""


class ColumnDialog(ModalScreen[ColumnChoice | None]):
    """A list of all columns, with those of the table ticked. Escape changes nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "tick", "in or out", id="columns.tick"),
        Binding("enter", "take", "done", id="columns.take", priority=True),
        Binding("s", "sort", "sort by it", id="columns.sort"),
        Binding("f", "fit", "as many as fit", id="columns.fit"),
        Binding("escape", "dismiss", "cancel", id="columns.cancel"),
    ]

    def __init__(self, shown: Sequence[str]) -> None:
        super().__init__()
        self.shown = frozenset(shown)
        self.ticked = set(shown)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield OptionList(*map(self._line, COLUMNS))
            yield Static(
                "\n[b]Space[/b] in or out  [b]s[/b] sort by it  [b]f[/b] as many as fit  [b]Enter[/b] done"
                "  [b]Esc[/b] no",
                classes="keys",
            )

    def _line(self, column: Column) -> Text:
        sign = "✓" if column.name in self.ticked else " "
        return Text.assemble(f"{sign} {column.name:<11}", (column.about, "dim"))

    @property
    def _here(self) -> int:
        return self.query_one(OptionList).highlighted or 0

    @property
    def _chosen(self) -> tuple[str, ...] | None:
        if self.ticked == self.shown:
            return None
        return tuple(column.name for column in COLUMNS if column.name in self.ticked)

    def action_tick(self) -> None:
        """Take the column under the cursor in or out."""
        column = COLUMNS[self._here]
        self.ticked ^= {column.name}
        self.query_one(OptionList).replace_option_prompt_at_index(self._here, self._line(column))

    def action_take(self) -> None:
        """Show the ticked columns."""
        self.dismiss(ColumnChoice(self._chosen))

    def action_sort(self) -> None:
        """Sort by the column under the cursor."""
        self.dismiss(ColumnChoice(self._chosen, COLUMNS[self._here].name))

    def action_fit(self) -> None:
        """Show as many columns as there is room for."""
        self.dismiss(ColumnChoice(()))
