"""The dialog for the name and folder of a new preset."""

import os
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Checkbox, Input, Static

from rbp_engine.preset import PresetError
from rbp_engine.preset.author import place_of
from rbp_engine.preset.find import shown
from rbp_engine.printable import one_line
from rbp_tui.dashboard.answered import Dialog


@dataclass(frozen=True)
class NewPreset:
    """The file of a preset to write, and whether it extends the offered parent."""

    path: Path
    extends: bool


class Tick(Checkbox):
    """A box that is empty unless it is ticked; Textual draws the same X in both."""

    @property
    def _button(self) -> Content:
        return Content("[✓]" if self.value else "[ ]")


class NamePreset(Dialog[NewPreset | None]):
    """Enter returns a file that does not exist yet, Escape None. Nothing is written here."""

    def __init__(self, question: str, name: str = "", *, parent: str | None = None) -> None:
        """`parent` is the name of a preset that the new one may extend; None offers none."""
        super().__init__()
        self.question = question
        self.proposed = name
        self.parent_preset = parent

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(f"{self.question}\n", markup=False)
            yield Input(self.proposed, placeholder="name", compact=True, id="name")
            if self.parent_preset is not None:
                yield Tick(Content(f"extends {one_line(self.parent_preset)}"), True, compact=True, id="extends")
            if place_of("any") != place_of("any", for_user=True):  # not so in a checkout
                # Do not suggest a new ./presets folder to a user who only looks around.
                yield Tick("for use in every folder", not Path("presets").is_dir(), compact=True, id="everywhere")
            yield Static(id="verdict")
            yield Static(
                "\n[b]Enter[/b] go on   [b]Tab[/b] next   [b]Space[/b] tick   [b]Esc[/b] cancel", classes="keys"
            )

    def on_mount(self) -> None:
        self.query_one("#name").focus()

    @on(Input.Changed)
    @on(Checkbox.Changed)
    def _check(self) -> None:
        path, problem = self._target()
        words = problem or (f"goes to {shown(path)}" if path else "")
        self.query_one("#verdict", Static).update(Text(f"\n{one_line(words)}", style="red" if problem else "dim"))

    def _target(self) -> tuple[Path | None, str]:
        """The file, and why it cannot be used; neither without a name."""
        name = self.query_one("#name", Input).value.strip()
        if not name:
            return None, ""
        try:
            path = place_of(name, for_user=self._is_ticked("#everywhere"))
        except PresetError as error:
            return None, error.problems[0].message
        return path, f"{shown(path)} exists already: choose another name" if os.path.lexists(path) else ""

    @on(Input.Submitted)
    def _named(self) -> None:
        path, problem = self._target()
        if path is None or problem:
            self.app.bell()
            return
        self.dismiss(NewPreset(path, self._is_ticked("#extends")))

    def _is_ticked(self, name: str) -> bool:
        """Whether there is such a box, and it is ticked."""
        return any(box.value for box in self.query(name).results(Checkbox))
