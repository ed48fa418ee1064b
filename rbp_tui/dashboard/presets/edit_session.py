"""The text of a preset being edited: read, check, keep as a draft, write. No widgets."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rbp_engine.preset import LoadedPreset, PresetError, Problem, load_text
from rbp_engine.preset.author import is_bundled
from rbp_engine.preset.find import shown
from rbp_engine.settings.documents import read_text
from rbp_engine.settings.files import write_settings
from rbp_tui.dashboard.presets.drafts import drop_draft, keep_draft

LINE_END = re.compile("\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


@dataclass
class PresetEdit:
    """An edit of the file `path`; `saved` is the file's text when the edit began or was last saved.

    A `new` file was made for this edit, in which nothing has been saved yet.
    """

    path: Path
    saved: str
    new: bool = False

    @property
    def changed_on_disk(self) -> bool:
        """Whether the file has another text by now, is gone, or can no longer be edited here."""
        try:
            return begin_edit(self.path).saved != self.saved
        except PresetError:
            return True

    def keep(self, text: str) -> None:
        """Keep the text as a draft, or drop the draft if it equals the saved text. Raises OSError."""
        if text == self.saved:
            drop_draft(self.path)
        else:
            keep_draft(self.path, text, self.saved)

    def write(self, text: str) -> None:
        """Write the text to the file atomically, and drop the draft. Raises OSError."""
        write_settings(self.path, text.encode())
        self.saved, self.new = text, False
        drop_draft(self.path)

    def drop(self) -> None:
        """Throw the text away, and the file if it was made for it."""
        drop_draft(self.path)
        if self.new:
            self.path.unlink(missing_ok=True)

    def read_again(self) -> str:
        """Start again with the content of the file. Raises `PresetError` as `begin_edit` does."""
        self.saved = begin_edit(self.path).saved
        return self.saved

    def check(self, text: str) -> tuple[LoadedPreset | None, tuple[Problem, ...]]:
        """The preset in the text, or all its problems."""
        try:
            return load_text(text, self.path), ()
        except PresetError as error:
            return None, error.problems


def begin_edit(path: Path) -> PresetEdit:
    """Read a preset to edit it; a missing file is empty. Raises `PresetError` if it cannot be edited here."""
    if not os.path.lexists(path):
        return PresetEdit(path, "")
    text = read_text(path)
    if isinstance(text, Problem):
        raise PresetError(shown(path), [text])
    if len(ends := set(LINE_END.findall(text))) > 1 or ends - {"\n", "\r\n"}:
        raise PresetError(shown(path), [Problem("", "has line ends that the editor here would change: use your own")])
    return PresetEdit(path, text)


def lines_of(problems: Iterable[Problem]) -> list[int]:
    """The lines of the preset's own file that have problems, from 1; not those of its parents."""
    return [problem.line for problem in problems if problem.line and not problem.source]


def needs_copy(path: Path) -> str:
    """Why an edit of a preset must be saved as another file; empty if it need not be."""
    if is_bundled(path):
        return f"{path.stem} comes with rbp"
    target = Path(os.path.realpath(path))
    if os.path.lexists(target) and not (os.access(target, os.W_OK) and os.access(target.parent, os.W_OK)):
        return f"{shown(path)} cannot be written"
    return ""
