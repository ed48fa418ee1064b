"""Presets: browse them by data set, inspect one, and launch it."""

import time
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Footer, Input, OptionList, Static, Tab, Tabs

from rbp_engine.preset import (
    LoadedPreset,
    PresetEntry,
    PresetError,
    Problem,
    load_preset,
    resolved_toml,
)
from rbp_engine.preset.author import copy_preset, create_from_run, create_preset, is_bundled
from rbp_engine.preset.find import reference, search_folders, shown
from rbp_engine.printable import one_line, visible
from rbp_engine.run import trust
from rbp_engine.run.files.layout import short_id
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.store.store import RunRecord
from rbp_engine.settings.documents import read_text
from rbp_tui.dashboard.dialogs import Choice
from rbp_tui.dashboard.presets.drafts import drop_draft, read_draft
from rbp_tui.dashboard.presets.edit_session import PresetEdit, begin_edit, lines_of
from rbp_tui.dashboard.presets.editor import EditorScreen
from rbp_tui.dashboard.presets.list import PresetList
from rbp_tui.dashboard.presets.name_dialog import NamePreset
from rbp_tui.dashboard.presets.summary import changes_of, of_experiment, summary_of
from rbp_tui.dashboard.presets.toml_area import TomlArea
from rbp_tui.dashboard.screen_base import DashboardScreen, TopBar
from rbp_tui.dashboard.session import Session
from rbp_tui.text import format as fmt
from rbp_tui.text.words import explained

LOOK_EVERY_S = 2.0
TABS = {"toml": "TOML", "resolved": "Resolved", "diff": "Diff"}


class PresetsScreen(DashboardScreen):
    """The list on the left; beside it a summary, and a pane with TOML or differences."""

    HELP = explained("rate_M", "rate_S", "T", "loss × 1/T")
    NAME = "presets"
    AUTO_FOCUS = "PresetList"  # not the filter: hints name the keys that work where the focus is
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]  # noqa: RUF012  # as Textual has it
    VERTICAL_BREAKPOINTS = [(0, "-short"), (36, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "launch", "launch", id="presets.launch"),
        Binding("e", "edit", "edit", id="presets.edit"),
        Binding("ctrl+n", "new", "new", id="presets.new"),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.loaded: LoadedPreset | None = None
        self._shown_runs: list[RunRecord] | None = None

    @property
    def ready(self) -> bool:
        return True

    @property
    def presets(self) -> PresetList:
        return self.query_one(PresetList)

    @property
    def current(self) -> PresetEntry | None:
        """The preset under the cursor."""
        return self.presets.current

    @on(OptionList.OptionSelected, "#presets")
    def action_launch(self) -> None:
        """Open the launch form; nothing is created before it is confirmed."""
        if (entry := self._trainable()) is not None:
            self.session.screens.launch_preset(entry.path, entry.name)

    def action_sweep(self) -> None:
        """Show the table of the sweep that the preset has."""
        if (entry := self._trainable()) is not None:
            self.session.screens.sweep_of_preset(entry.path, entry.name)

    def _trainable(self) -> PresetEntry | None:
        """The preset under the cursor, unless it has problems, which the user then sees."""
        if self.current is None or not self.current.problems:
            return self.current
        problem = f"{self.current.name} cannot be trained as it is; e edits it"
        self.notify(problem, severity="error", timeout=8, markup=False)
        return None

    @work(exclusive=True, group="preset")
    async def action_edit(self) -> None:
        """Edit the preset here."""
        if self.current is not None:
            await self.edit(self.current.path)

    async def edit(self, path: Path, *, new: bool = False) -> None:
        """Show a preset and edit it, continuing an earlier draft if the user wants; a `new` one was just made."""
        self._show_preset(path)
        begun = await self._begin(path)
        if begun is not None:
            begun[0].new = new
            self._show_preset(await self.app.push_screen_wait(EditorScreen(*begun)))

    async def _begin(self, path: Path) -> tuple[PresetEdit, str] | None:
        """The edit session and its initial text; None if the user cancels."""
        edit, draft = begin_edit(path), read_draft(path)
        if draft is None or draft.text == edit.saved:
            return edit, edit.saved
        changed = "" if draft.basis == edit.saved else " The file has changed since then."
        answers = {"draft": "Go on with that text", "drop": "Throw it away and edit the file"}
        ago = fmt.duration(time.time() - draft.written)
        question = f"There is unsaved text of {shown(path)} from {ago} ago.{changed}"
        answer = await self.app.push_screen_wait(Choice(question, answers, "leave it for now"))
        if answer == "draft":
            return PresetEdit(path, draft.basis), draft.text
        if answer == "drop":
            drop_draft(path)
            return edit, edit.saved
        return None

    @work(exclusive=True, group="preset")
    async def action_new(self) -> None:
        """Write a new preset, from nothing or on top of this one, and edit it."""
        entry = self.current
        parent = entry if entry is not None and not entry.problems else None
        dialog = NamePreset("A new preset, called", parent=parent.name if parent else None)
        new_preset = await self.app.push_screen_wait(dialog)
        if new_preset is None:
            return
        source = reference(parent.path, parent.name) if parent is not None and new_preset.extends else None
        create_preset(new_preset.path, source)
        await self.edit(new_preset.path.absolute(), new=True)

    @work(exclusive=True, group="preset")
    async def action_again(self) -> None:
        """Copy the preset, comments and all, under another name, and edit that."""
        entry = self.current
        if entry is None:
            return
        dialog = NamePreset(f"A copy of {entry.name}, called", f"my-{entry.name}")
        new_preset = await self.app.push_screen_wait(dialog)
        if new_preset is not None:
            copy_preset(new_preset.path, entry.path)
            await self.edit(new_preset.path.absolute(), new=True)

    def _show_preset(self, path: Path) -> None:
        """Read the presets again, and move to this one."""
        self.presets.reload()
        self._show_nothing()
        self.choose(path.stem)

    def compose(self) -> ComposeResult:
        yield TopBar()
        with Horizontal():
            with Vertical(id="list"):
                yield Input(placeholder="filter: name, title or data set", compact=True, id="filter")
                yield PresetList()
                yield Static("dim: data not here, rbp data add", id="legend")
            with Container(id="detail"):
                with VerticalScroll(id="about", can_focus=False):
                    yield Static(id="title")
                    yield Static(id="description", markup=False)
                    yield Static(id="summary")
                with Vertical(id="sheet"):
                    yield Tabs(*(Tab(name, id=pane) for pane, name in TABS.items()), id="tabs")
                    with Horizontal():
                        yield TomlArea(read_only=True, id="toml_pane")
                        yield TomlArea(read_only=True, id="resolved_pane")
                        with VerticalScroll(id="diff_pane"):
                            yield Static(id="differences")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        # Focus in a text area would swallow the digits that switch screens.
        self.presets.focus()
        self.set_interval(LOOK_EVERY_S, self._look)

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self._look()
        self.presets.look_for_data()

    def choose(self, name: str) -> None:
        """Move to a preset; a filter that hides it is removed."""
        self.presets.choose(name)
        if not self.presets.words:
            self._hide_filter()

    def _look(self) -> None:
        """Read the presets again if any file has changed."""
        if self.is_current and self.presets.reload_if_changed():
            self._show_nothing()

    def _show_nothing(self) -> None:
        """Clear the screen: an empty list sends no message about its cursor."""
        if self.current is None:
            self._show()

    def runs_changed(self) -> None:
        super().runs_changed()
        self._show_runs()

    @on(OptionList.OptionHighlighted, "#presets")
    def _show(self) -> None:
        entry = self.current
        self.loaded, self._shown_runs = None, None
        problems: tuple[Problem, ...] = ()
        about = Text()
        if entry is not None:
            try:
                self.loaded = load_preset(str(entry.path))
            except PresetError as error:
                problems = error.problems
                about = Text(str(error), style="red")
        self.query_one("#title", Static).update(self._title(entry))
        description = self.loaded.preset.description.strip() if self.loaded is not None else ""
        self.query_one("#description", Static).update(visible(description))
        self.query_one("#description").display = bool(description)
        self.query_one("#summary", Static).update(about)
        self.query_one("#legend").display = self.presets.some_lack_data
        self._show_toml(entry, problems)
        self._show_differences()
        self._show_runs()

    def _title(self, entry: PresetEntry | None) -> Text:
        if entry is None:
            why = "No preset fits the filter" if self.presets.words else "There is no preset"
            return Text(f"{why}. Searched: {', '.join(search_folders())}.", style="dim")
        text = Text(one_line(entry.title or entry.name), style="bold")
        return text if is_bundled(entry.path) else text.append(f"  {shown(entry.path)}", style="not bold dim")

    def _show_toml(self, entry: PresetEntry | None, problems: tuple[Problem, ...]) -> None:
        area = self.query_one("#toml_pane", TomlArea)
        written = read_text(entry.path) if entry is not None else ""
        area.mark_lines(lines_of(problems))
        area.text = written if isinstance(written, str) else ""
        self.query_one("#resolved_pane", TomlArea).text = resolved_toml(self.loaded.preset) if self.loaded else ""

    def _show_differences(self) -> None:
        parent, changes = changes_of(self.loaded, self.loaded.name) if self.loaded is not None else ("", "")
        self.query_one("#differences", Static).update(changes)
        self._tabs.query_one("#diff", Tab).label = Content(f"Diff to {one_line(parent)}" if parent else "Diff")

    def _show_runs(self) -> None:
        """Show the runs and their figures, if they have changed."""
        if self.loaded is None:
            return
        runs = of_experiment(self.loaded, self.session.records)
        if runs != self._shown_runs:
            self._shown_runs = runs
            self.query_one("#summary", Static).update(summary_of(self.loaded, self.session.records))

    @property
    def _tabs(self) -> Tabs:
        return self.query_one("#tabs", Tabs)

    def action_view(self) -> None:
        """The next pane: TOML as written or resolved, differences."""
        self._tabs.action_next_tab()

    @on(Tabs.TabActivated, "#tabs")
    def _show_pane(self) -> None:
        for name in TABS:
            self.query_one(f"#{name}_pane").set_class(name == self._tabs.active, "-open")

    def action_find(self) -> None:
        """Filter the list by words."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self.presets.filter(event.value)
        self._show_nothing()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.presets.focus()

    def action_back(self) -> None:
        """Take away the filter."""
        self.presets.filter("")
        self._hide_filter()
        self.presets.focus()

    def _hide_filter(self) -> None:
        field = self.query_one("#filter", Input)
        with self.prevent(Input.Changed):
            field.value = ""
        field.display = False


async def preset_of_run(app: App[Any], record: RunRecord) -> Path | None:
    """Ask for a name and write the settings of a run as a preset of that name; None if the user cancels.

    Raises `PresetError`, and Untrusted for code that the user has not launched.
    """
    summary, run, again = record.summary, record.run, LaunchRequest.like(record.run)
    trust.require_code(run)  # it is copied beside the preset, as the user's own
    question = f"A preset with the settings of {run.id}, called"
    new_preset = await app.push_screen_wait(NamePreset(question, f"{summary.preset}-{short_id(summary.id)}"))
    if new_preset is None:
        return None
    create_from_run(new_preset.path, Path(again.preset), again.code, f"The settings of the run {run.id}.")
    return new_preset.path.absolute()
