"""The user's own editor, for presets and notes."""

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from rbp_engine.errors import UserError

FALLBACKS = ("nano", "vi")


class EditorError(UserError):
    """No editor could be started, or it ended with an error."""


def edit_file(path: Path) -> None:
    """Open a file in $VISUAL or $EDITOR and wait until the editor has ended. Raises EditorError."""
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        command = shlex.split(chosen) or [found for name in FALLBACKS if (found := shutil.which(name))][:1]
        if not command:
            raise EditorError("no editor: set $EDITOR to one")
        code = subprocess.run([*command, str(path)], check=False).returncode
    except (OSError, ValueError) as error:  # a quote may be open in it
        why = error.strerror if isinstance(error, OSError) else error
        raise EditorError(f"cannot start {chosen}: {why} (from $VISUAL or $EDITOR)") from error
    if code:
        raise EditorError(f"{command[0]} ended with exit code {code}")


def edit_text(text: str) -> str:
    """Open a text in the editor and return the result."""
    with tempfile.TemporaryDirectory(prefix="rbp-") as folder:
        path = Path(folder) / "note.txt"
        path.write_text(text, encoding="utf-8")
        edit_file(path)
        return path.read_text(encoding="utf-8", errors="replace")
