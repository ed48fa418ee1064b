"""The list of presets: the user's own, those whose data is here, and the others by data set."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from rbp_engine.data.catalog import CATALOG
from rbp_engine.disk import changed_ns
from rbp_engine.preset import PresetEntry, list_presets
from rbp_engine.preset.author import is_bundled
from rbp_engine.preset.find import preset_files, search_folders
from rbp_engine.printable import one_line
from rbp_tui.dashboard.presets.drafts import read_draft
from rbp_tui.dashboard.presets.summary import data_here
from rbp_tui.text.format import counted

MINE, HERE, OTHER, UNREADABLE = "Mine", "Data here", "Other data", "Unreadable"

Stamp = tuple[tuple[str, int], ...]


class PresetList(OptionList):
    """The options are presets, by name; the headings between them cannot be selected."""

    # With its own description, so that the footer explains Enter.
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select", "launch", id="presets.launch")]

    def __init__(self) -> None:
        super().__init__(id="presets")
        self.entries: list[PresetEntry] = []  # in the order of the list
        self.words = ""
        self._stamp: Stamp | None = None
        self._here: dict[str, bool | None] = {}

    @property
    def current(self) -> PresetEntry | None:
        """The preset under the cursor."""
        option = self.highlighted_option
        return next((entry for entry in self.entries if option is not None and entry.name == option.id), None)

    def reload(self) -> None:
        """Read the presets again, and look for their data; the cursor stays on its preset."""
        self._stamp = _stamp()
        self.entries = list_presets()
        self._here = {}
        self.look_for_data()

    def reload_if_changed(self) -> bool:
        """Read the presets again if a file has appeared, gone or changed; returns whether."""
        if _stamp() == self._stamp:
            return False
        self.reload()
        return True

    def look_for_data(self) -> None:
        """Update the marks of data sets that are here."""
        here = {name: data_here(name) for name in {entry.group for entry in self.entries}}
        if here != self._here:
            self._here = here
            self.entries = _in_groups(self.entries, here)
            self._fill()

    @property
    def some_lack_data(self) -> bool:
        """Whether any preset in the list is dim."""
        return any(self._here[entry.group] is False for entry in self._fitting())

    def filter(self, words: str) -> None:
        """Show only presets whose name, title or data set has all the words."""
        self.words = words
        self._fill()

    def choose(self, name: str) -> None:
        """Move to a preset; a filter that hides it is removed."""
        if not any(option.id == name for option in self.options) and self.words:
            self.filter("")
        index = next((at for at, option in enumerate(self.options) if option.id == name), None)
        if index is not None:
            self.highlighted = index

    def _fill(self) -> None:
        before = self.current
        options: list[Option] = []
        heading = None
        for entry in self._fitting():
            if (group := group_of(entry, self._here)) != heading:
                heading = group
                options.append(Option(f"\n{heading}" if options else heading, disabled=True))
            options.append(Option(self._line(entry), id=entry.name))
        self.set_options(options)
        if before is not None and any(option.id == before.name for option in options):
            self.choose(before.name)
        elif options:
            self.action_first()

    def _line(self, entry: PresetEntry) -> Text:
        here = self._here[entry.group]
        # Without a colour of its own, the tick can be read on the selected row, too.
        line = Text.assemble(" ✓ " if here else "   ", one_line(entry.name), style="dim" if here is False else "")
        if entry.problems:
            line.append(f"  {counted(len(entry.problems), 'problem')}", style="red")
        if read_draft(entry.path) is not None:
            line.append("  unsaved", style="yellow")
        line.no_wrap, line.overflow = True, "ellipsis"
        return line

    def _fitting(self) -> list[PresetEntry]:
        words = self.words.lower().split()
        return [entry for entry in self.entries if all(word in _searched(entry) for word in words)]


def group_of(entry: PresetEntry, here: Mapping[str, bool | None]) -> str:
    """The heading above a preset; `here` says which data sets are here."""
    if not is_bundled(entry.path):
        return MINE
    return HERE if here[entry.group] else _data_set(entry)


def _data_set(entry: PresetEntry) -> str:
    if entry.group in CATALOG:
        return CATALOG[entry.group].title.partition(",")[0]
    return OTHER if entry.group else UNREADABLE


def _in_groups(entries: Sequence[PresetEntry], here: Mapping[str, bool | None]) -> list[PresetEntry]:
    groups = [MINE, HERE, *(data.title.partition(",")[0] for data in CATALOG.values()), OTHER, UNREADABLE]
    sets = list(CATALOG)

    def place(entry: PresetEntry) -> tuple[int, int, str]:
        group = group_of(entry, here)
        within = [*sets, entry.group].index(entry.group) if group == HERE else 0
        return groups.index(group), within, entry.name

    return sorted(entries, key=place)


def _searched(entry: PresetEntry) -> str:
    mine = () if is_bundled(entry.path) else ("mine",)
    return " ".join((entry.name, entry.title, entry.group, _data_set(entry), *mine)).lower()


def _stamp() -> Stamp:
    """A value that changes if a preset file appears, goes or is written."""
    paths = [path for folder in search_folders().values() for path in preset_files(folder)]
    return tuple((str(path), changed_ns(path)) for path in paths)
