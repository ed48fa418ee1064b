"""Actions on a preset: launch it, edit it, make another one from it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.widgets import OptionList

from rbp_engine.errors import UserError
from rbp_engine.preset import PresetEntry, PresetError
from rbp_engine.preset.author import copy_preset, create_from_run, create_preset
from rbp_engine.preset.search import reference, shown
from rbp_engine.run import trust
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.dialogs import Choice
from rbp_tui.dashboard.messages import LaunchPreset, SweepOfPreset
from rbp_tui.dashboard.presets.drafts import drop_draft, read_draft
from rbp_tui.dashboard.presets.edit_session import PresetEdit, begin_edit
from rbp_tui.dashboard.presets.editor import EditorScreen
from rbp_tui.dashboard.presets.list import PresetList
from rbp_tui.dashboard.presets.name_dialog import NamePreset, NewPreset
from rbp_tui.dashboard.screen_base import DashboardScreen
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import short_id


class PresetActions(DashboardScreen):
    """The keys of the Presets screen that act on the preset under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "launch", "launch", id="presets.launch"),
        Binding("e", "edit", "edit", id="presets.edit"),
        Binding("ctrl+n", "new", "new", id="presets.new"),
    ]

    @property
    def presets(self) -> PresetList:
        return self.query_one(PresetList)

    @property
    def current(self) -> PresetEntry | None:
        """The preset under the cursor."""
        return self.presets.current

    def reload(self) -> None:
        """Read the presets again."""
        raise NotImplementedError

    def choose(self, name: str) -> None:
        """Move to a preset."""
        raise NotImplementedError

    @on(OptionList.OptionSelected, "#presets")
    def action_launch(self) -> None:
        """Open the launch form; nothing is created before it is confirmed."""
        entry = self.current
        if entry is not None and entry.problems:
            self._warn(f"{entry.name} cannot be trained as it is; e edits it")
        elif entry is not None:
            self.post_message(LaunchPreset(entry.path, entry.name))

    def action_sweep(self) -> None:
        """Show the table of the sweep that the preset has."""
        entry = self.current
        if entry is not None and entry.problems:
            self._warn(f"{entry.name} cannot be trained as it is; e edits it")
        elif entry is not None:
            self.post_message(SweepOfPreset(entry.path, entry.name))

    @work(exclusive=True, group="preset")
    async def action_edit(self) -> None:
        """Edit the preset here."""
        if self.current is not None:
            await self.edit(self.current.path)

    async def edit(self, path: Path) -> None:
        """Show a preset and edit it, continuing an earlier draft if the user wants."""
        self._show_preset(path)
        try:
            begun = await self._begin(path)
        except PresetError as error:
            self._warn(str(error))
            return
        if begun is not None:
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
        new_preset = await self._ask_name("A new preset, called", parent=parent.name if parent else None)
        if new_preset is None:
            return
        source = reference(parent.path, parent.name) if parent is not None and new_preset.extends else None
        if self._written(lambda: create_preset(new_preset.path, source)):
            await self.edit(new_preset.path.absolute())

    @work(exclusive=True, group="preset")
    async def action_again(self) -> None:
        """Copy the preset, comments and all, under another name, and edit that."""
        entry = self.current
        if entry is None:
            return
        new_preset = await self._ask_name(f"A copy of {entry.name}, called", f"my-{entry.name}")
        if new_preset is not None and self._written(lambda: copy_preset(new_preset.path, entry.path)):
            await self.edit(new_preset.path.absolute())

    async def _ask_name(self, question: str, name: str = "", *, parent: str | None = None) -> NewPreset | None:
        return await self.app.push_screen_wait(NamePreset(question, name, parent=parent))

    def _written(self, write: Callable[[], object]) -> bool:
        try:
            write()
        except UserError as error:
            self._warn(str(error))
            return False
        return True

    def _show_preset(self, path: Path) -> None:
        self.reload()
        self.choose(path.stem)

    def _warn(self, text: str) -> None:
        self.notify(text, severity="error", timeout=8, markup=False)


async def preset_of_run(app: App[Any], record: RunRecord) -> Path | None:
    """Ask for a name and write the settings of a run as a preset of that name; None if the user cancels.

    Raises `PresetError`, and Untrusted for code that the user has not launched.
    """
    summary, run, again = record.summary, record.run, LaunchRequest.like(record.run)
    trust.require_code(run)  # it is copied beside the preset, as the user's own
    question = f"A preset with the settings of {run.id}, called"
    new_preset = await app.push_screen_wait(NamePreset(question, f"{summary.preset}-{short_id(summary)}"))
    if new_preset is None:
        return None
    create_from_run(new_preset.path, Path(again.preset), again.code, f"The settings of the run {run.id}.")
    return new_preset.path.absolute()
