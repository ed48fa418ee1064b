"""The dialog for the columns of the table of runs."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, SelectionList, Static
from textual.widgets.selection_list import Selection

from rbp_engine.run.store.run_settings import field_types
from rbp_tui.dashboard.answered import Dialog
from rbp_tui.dashboard.runs.columns import COLUMNS, column_named

# What a preset says about itself is no setting.
ABOUT = ("title", "description", "paper")
NAME_WIDTH = 28


class ColumnDialog(Dialog[list[str] | None]):
    """Returns the ticked columns, none for as many as fit; None changes nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "take", "done", id="columns.take", priority=True)]

    def __init__(self, shown: Sequence[str], differing: Sequence[str]) -> None:
        """`shown` are the columns of the table, `differing` the settings in which its runs differ; these come first."""
        super().__init__()
        self.shown = frozenset(shown)
        self.ticked = set(shown)
        settings = [key for key in field_types() if key.partition(".")[0] not in ABOUT]
        every = [*differing, *(column.name for column in COLUMNS), *settings, *sorted(self.shown)]
        self._columns = [column_named(name) for name in dict.fromkeys(every)]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Input(placeholder="find a column, as  momentum", compact=True)
            yield SelectionList[str](*self._options(""), compact=True)
            yield Static(
                "\n[b]Tab[/b] list   [b]Space[/b] tick; none: as many as fit   [b]Enter[/b] done   [b]Esc[/b] cancel",
                classes="keys",
            )

    def on_mount(self) -> None:
        self.query_one(SelectionList).highlighted = 0

    def _options(self, wanted: str) -> Iterator[Selection[str]]:
        for column in self._columns:
            if wanted in f"{column.name} {column.title} {column.about}".lower():
                line = Text.assemble(f"{column.name:<{NAME_WIDTH}} ", (column.about, "dim"))
                yield Selection(Content.from_rich_text(line), column.name, column.name in self.ticked)

    @on(Input.Changed)
    def _searched(self, event: Input.Changed) -> None:
        columns = self.query_one(SelectionList).clear_options().add_options(self._options(event.value.strip().lower()))
        columns.highlighted = 0 if columns.option_count else None

    @on(SelectionList.SelectionToggled)
    def _ticked(self, event: SelectionList.SelectionToggled[str]) -> None:
        self.ticked ^= {event.selection.value}

    def action_take(self) -> None:
        """Show the ticked columns."""
        chosen = [column.name for column in self._columns if column.name in self.ticked]
        self.dismiss(None if self.ticked == self.shown else chosen)
