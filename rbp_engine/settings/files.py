"""Write settings files that users also edit by hand."""

import os
import secrets
import shutil
from pathlib import Path


def write_settings(path: Path, content: bytes) -> None:
    """Replace the contents of a file atomically, keeping its mode. Raises OSError."""
    # A link, as in a folder of dot files, stays a link.
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name that nobody can have foreseen, and never a file that is there: in a shared folder it could be a link.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
