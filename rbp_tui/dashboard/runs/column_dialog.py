"""The dialog for the columns of the table of runs, and the sort order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from rbp_engine.run.store.run_settings import field_types
from rbp_tui.dashboard.answered import Dialog
from rbp_tui.dashboard.runs.columns import COLUMNS, column_named
from rbp_tui.text.run_columns import Column

# What a preset says about itself is no setting.
ABOUT = ("title", "description", "paper")
NAME_WIDTH, LONGEST_NAME = 24, 32


@dataclass(frozen=True)
class ColumnChoice:
    """The names of the columns: empty for as many as fit, None if unchanged; and the column to sort by, if any."""

    columns: tuple[str, ...] | None
    sort_by: str = ""


class ColumnDialog(Dialog[ColumnChoice | None]):
    """A list of all columns, with those of the table ticked. Escape changes nothing."""

    AUTO_FOCUS = "OptionList"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "tick", "in or out", id="columns.tick"),
        Binding("enter", "take", "done", id="columns.take", priority=True),
        Binding("slash", "search", "find", id="columns.find"),
        Binding("s", "sort", "sort by it", id="columns.sort"),
        Binding("f", "fit", "as many as fit", id="columns.fit"),
        Binding("escape", "leave", "cancel", id="columns.cancel"),
    ]

    def __init__(self, shown: Sequence[str], differing: Sequence[str]) -> None:
        """`shown` are the columns of the table, `differing` the settings in which its runs differ."""
        super().__init__()
        self.shown = frozenset(shown)
        self.ticked = set(shown)
        settings = [key for key in field_types() if key.partition(".")[0] not in ABOUT]
        others = [key for key in dict.fromkeys([*settings, *sorted(self.shown)]) if key not in differing]
        self._columns = {
            "Settings in which these runs differ": [column_named(key) for key in differing],
            "Of every run": [*COLUMNS],
            "Other settings": [column for column in map(column_named, others) if column not in COLUMNS],
        }
        longest = max(len(column.name) for columns in self._columns.values() for column in columns)
        self._name_width = max(NAME_WIDTH, min(longest, LONGEST_NAME))

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Input(placeholder="/ find a column, as  momentum", compact=True)
            yield OptionList()
            yield Static(
                "\n[b]Space[/b] in or out  [b]s[/b] sort by it  [b]f[/b] all that fit  [b]Enter[/b] done"
                "  [b]Esc[/b] cancel",
                classes="keys",
            )

    def on_mount(self) -> None:
        self._list()

    def _list(self) -> None:
        """List the columns that the search finds."""
        options = self.query_one(OptionList)
        options.clear_options().add_options(self._options(self.query_one(Input).value.strip().lower()))
        options.highlighted = next((n for n, option in enumerate(options.options) if not option.disabled), None)

    def _options(self, wanted: str) -> Iterator[Option]:
        for heading, columns in self._columns.items():
            found = [column for column in columns if wanted in f"{column.name} {column.title} {column.about}".lower()]
            if found:
                yield Option(Text(heading, "bold"), disabled=True)
                yield from (Option(self._line(column), id=column.name) for column in found)

    def _line(self, column: Column) -> Text:
        sign = "✓" if column.name in self.ticked else " "
        return Text.assemble(f"{sign} {column.name:<{self._name_width}} ", (column.about, "dim"), no_wrap=True,
                             overflow="ellipsis")  # fmt: skip

    @property
    def _here(self) -> str | None:
        """The name of the column under the cursor."""
        option = self.query_one(OptionList).highlighted_option
        return None if option is None else option.id

    @property
    def _chosen(self) -> tuple[str, ...] | None:
        if self.ticked == self.shown:
            return None
        every = [column.name for columns in self._columns.values() for column in columns]
        return tuple(name for name in every if name in self.ticked)

    def action_tick(self) -> None:
        """Take the column under the cursor in or out."""
        name = self._here
        if name is not None:
            self.ticked ^= {name}
            self.query_one(OptionList).replace_option_prompt(name, self._line(column_named(name)))

    def action_take(self) -> None:
        """Show the ticked columns."""
        if self._leave_search():
            return
        self.dismiss(ColumnChoice(self._chosen))

    def action_sort(self) -> None:
        """Sort by the column under the cursor."""
        self.dismiss(ColumnChoice(self._chosen, self._here or ""))

    def action_fit(self) -> None:
        """Show as many columns as there is room for."""
        self.dismiss(ColumnChoice(()))

    def action_search(self) -> None:
        """Find a column by its name or meaning."""
        self.query_one(Input).focus()

    def action_leave(self) -> None:
        """Leave the search, else the dialog."""
        self.query_one(Input).clear()
        if not self._leave_search():
            self.dismiss(None)

    def _leave_search(self) -> bool:
        """Go from the search to the list; whether the search had the focus."""
        if self.focused is not self.query_one(Input):
            return False
        self.query_one(OptionList).focus()
        return True

    @on(Input.Changed)
    def _searched(self) -> None:
        self._list()
