"""The editor of a preset: the text is checked while typing, and kept as a draft until it is saved."""

import contextlib
import os
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.timer import Timer
from textual.widgets import Footer, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from rbp_engine.preset import PresetError, Problem
from rbp_engine.preset.find import shown
from rbp_tui.cli.presets.editor import EditorError, edit_file
from rbp_tui.dashboard.answered import Answered
from rbp_tui.dashboard.dialogs import Choice
from rbp_tui.dashboard.presets.drafts import drop_draft
from rbp_tui.dashboard.presets.edit_session import PresetEdit, lines_of, needs_copy
from rbp_tui.dashboard.presets.name_dialog import NamePreset
from rbp_tui.dashboard.presets.summary import changes_of
from rbp_tui.dashboard.presets.toml_area import TomlArea
from rbp_tui.text.format import counted
from rbp_tui.text.setting_words import help_on_line

CHECK_AFTER_S = 0.2
LOOK_EVERY_S = 1.0


def edit_outside(app: App[Any], path: Path) -> None:
    """Open a file in $VISUAL or $EDITOR and wait for its end; notifies the user of an error."""
    trouble = ""
    try:
        with app.suspend():
            try:  # an error that left this block would leave the terminal suspended
                edit_file(path)
            except EditorError as error:
                trouble = str(error)
    except SuspendNotSupported:
        trouble = "this terminal cannot be handed to another program"
    if trouble:
        app.notify(trouble, severity="error", timeout=10, markup=False)


class EditorScreen(Answered[Path]):
    """Returns the file of the preset, which is a new one if a copy was saved."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]  # noqa: RUF012  # as Textual has it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "save", id="editor.save"),
        Binding("escape", "leave", "leave", id="editor.leave"),
        Binding("f8", "next_problem", "next problem", id="editor.next_problem"),
        Binding("ctrl+o", "outside", "$EDITOR", id="editor.outside"),
    ]

    def __init__(self, edit: PresetEdit, text: str) -> None:
        super().__init__()
        self.edit = edit
        self.initial_text = text
        self.problems: tuple[Problem, ...] = ()
        self._check_soon: Timer | None = None
        self._warned_no_draft = False

    def compose(self) -> ComposeResult:
        yield Static(id="editing")
        with Horizontal():
            yield TomlArea(self.initial_text, id="area")
            with VerticalScroll(id="beside"):
                yield Static(id="changes")
        yield Static(id="field")
        yield OptionList(id="problems", markup=False, compact=True)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.area.focus()
        if self.edit.new:
            self.area.action_go_to_line(len(self.area.text))
        self.set_interval(LOOK_EVERY_S, self._check_file)
        self._check()

    @property
    def area(self) -> TomlArea:
        return self.query_one("#area", TomlArea)

    @property
    def unsaved(self) -> bool:
        return self.area.text != self.edit.saved

    @property
    def _count(self) -> str:
        return counted(len(self.problems), "problem")

    @on(TextArea.Changed, "#area")
    def _typed(self) -> None:
        """Keep the text as a draft at every key, and check it after a pause."""
        try:
            self.edit.keep(self.area.text)
        except OSError as error:
            if not self._warned_no_draft:
                self._warned_no_draft = True
                self.notify(f"unsaved text cannot be kept as a draft: {error}", severity="warning", markup=False)
        if self._check_soon is not None:
            self._check_soon.stop()
        self._check_soon = self.set_timer(CHECK_AFTER_S, self._check)

    @on(TextArea.SelectionChanged, "#area")
    def _moved(self) -> None:
        about = help_on_line(self.area.document.lines, self.area.cursor_location[0])
        self.query_one("#field", Static).update(Text(about))

    def _check(self) -> None:
        loaded, self.problems = self.edit.check(self.area.text)
        if loaded is not None:
            self.query_one("#changes", Static).update(changes_of(loaded, "here")[1])
        self.area.mark_lines(lines_of(self.problems))
        listed = self.query_one("#problems", OptionList)
        listed.set_options(Option(_in_words(problem)) for problem in self.problems)
        listed.highlighted = 0 if self.problems else None
        listed.display = bool(self.problems)
        self._show_head()

    def _check_file(self) -> None:
        """Read the file again if it has changed, unless that would lose unsaved text; then show a note."""
        if self.edit.changed_on_disk and not self.unsaved and os.path.lexists(self.edit.path):
            with contextlib.suppress(PresetError):  # the text stays, and the head says that the file has changed
                self._replace(self.edit.read_again())
                self.notify(f"{shown(self.edit.path)} has changed and was read again", markup=False)
        self._show_head()

    def _show_head(self) -> None:
        head = Text(f" {shown(self.edit.path)}", style="bold")
        if why := needs_copy(self.edit.path):
            head.append(f"  {why}; a copy is saved", style="dim")
        if self.unsaved:
            head.append("  ● unsaved")
        if self.edit.changed_on_disk:
            head.append("  ! the file has changed meanwhile")
        head.append(f"  ✗ {self._count}" if self.problems else "  ✓ no problems")
        self.query_one("#editing", Static).update(head)

    @on(OptionList.OptionSelected, "#problems")
    def _go_to_problem(self, event: OptionList.OptionSelected) -> None:
        for line in lines_of([self.problems[event.option_index]]):
            self._go_to(line)

    def action_next_problem(self) -> None:
        """Go to the next line that has a problem, after the last to the first."""
        lines = lines_of(self.problems)
        after = [line for line in lines if line > self.area.cursor_location[0] + 1]
        if lines:
            self._go_to((after or lines)[0])

    def _go_to(self, line: int) -> None:
        self.area.action_go_to_line(line)
        self.set_focus(self.area)

    @work(exclusive=True, group="save")
    async def action_save(self) -> None:
        """Write the text into the file, as it is typed."""
        await self._save()

    async def _save(self) -> bool:
        """Save the text, as a copy if the preset is not the user's own; returns whether it was written."""
        edit, why = self.edit, needs_copy(self.edit.path)
        if not why and edit.changed_on_disk:
            answers = {"over": "Write over it", "copy": "Save this text under another name"}
            changed = f"{shown(edit.path)} has changed since the edit began."
            answer = await self.app.push_screen_wait(Choice(changed, answers, "go on editing"))
            if answer is None:
                return False
            why = changed if answer == "copy" else ""
        if why:
            question = f"{why.rstrip('.')}. Save a copy as"
            named = await self.app.push_screen_wait(NamePreset(question, f"my-{edit.path.stem}"))
            if named is None:
                return False
            edit = PresetEdit(named.path.absolute(), "")
        try:
            edit.write(self.area.text)
        except OSError as error:
            problem = f"{shown(edit.path)} cannot be written: {error.strerror}. The text is kept as a draft."
            self.notify(problem, severity="error", timeout=10, markup=False)
            return False
        if edit is not self.edit:
            drop_draft(self.edit.path)
            self.edit = edit
        self._check()
        self.notify(f"wrote {shown(edit.path)}" + (f", with {self._count}" if self.problems else ""), markup=False)
        return True

    @work(exclusive=True, group="save")
    async def action_leave(self) -> None:
        """Back to the presets; asks about unsaved text."""
        if self.unsaved:
            answers = {
                "save": "Save it",
                "keep": "Keep it as a draft, to go on with later",
                "drop": "Throw the changes away",
            }
            question = f"{shown(self.edit.path)} has unsaved changes."
            answer = await self.app.push_screen_wait(Choice(question, answers, "go on editing"))
            if answer is None or (answer == "save" and not await self._save()):
                return
            if answer == "drop":
                self.edit.drop()
        self.dismiss(self.edit.path)

    @work(exclusive=True, group="save")
    async def action_outside(self) -> None:
        """Save, open the file in $VISUAL or $EDITOR, and go on with what that leaves."""
        if (self.unsaved or needs_copy(self.edit.path)) and not await self._save():
            return
        edit_outside(self.app, self.edit.path)
        self._check_file()

    def _replace(self, text: str) -> None:
        """Replace the text, in an edit that can be undone."""
        if text != self.area.text:
            self.area.replace(text, (0, 0), self.area.document.end)
        self._check()


def _in_words(problem: Problem) -> str:
    key = f"{problem.key}: " if problem.key else ""
    return f"{problem.place or 'the file'}  {key}{problem.message}"
