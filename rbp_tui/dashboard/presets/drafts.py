"""Unsaved text of presets, saved in the user's state directory while typing, so that no crash loses it."""

import contextlib
import hashlib
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rbp_engine.codec import convert_verbatim
from rbp_tui.dashboard.view_state import state_file


@dataclass(frozen=True)
class Draft:
    """The text of an edit that was not saved.

    `basis` is what the preset's file had when the edit began, `written` the time of the last change in seconds since
    the epoch.
    """

    text: str
    basis: str
    written: float


def keep_draft(path: Path, text: str, basis: str) -> None:
    """Save a draft of the preset, and replace an earlier one. Raises OSError."""
    target = _draft_file(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(3)}")
    # Without waiting for the disk, since it is done at every key: this survives our crash, not the machine's.
    temporary.write_text(json.dumps(asdict(Draft(text, basis, time.time()))), encoding="utf-8")
    temporary.replace(target)


def read_draft(path: Path) -> Draft | None:
    """The draft of a preset; None if there is none, or it cannot be read."""
    try:
        return convert_verbatim(Draft, json.loads(_draft_file(path).read_bytes()))
    except (OSError, ValueError):
        return None


def drop_draft(path: Path) -> None:
    """Remove the draft of a preset, if there is one."""
    with contextlib.suppress(OSError):
        _draft_file(path).unlink(missing_ok=True)


def _draft_file(path: Path) -> Path:
    name = f"{path.stem}-{hashlib.sha256(os.path.realpath(path).encode()).hexdigest()[:12]}.json"
    return state_file().parent / "drafts" / name
