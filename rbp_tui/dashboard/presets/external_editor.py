"""The user's own editor, with the dashboard suspended."""

from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from rbp_tui.cli.presets.editor import EditorError, edit_file


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
