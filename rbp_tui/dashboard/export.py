"""Export of a screen: its picture as SVG, and its curves as CSV."""

import time
from collections.abc import Mapping
from pathlib import Path

from rbp_engine.errors import UserError
from rbp_engine.run.files.layout import write_atomic

FOLDER = "rbp-export"


def export(name: str, files: Mapping[str, str], folder: Path, now: float | None = None) -> Path:
    """Write `files`, texts by name, into a new folder below `folder/rbp-export`, and return that folder.

    Raises UserError where it cannot be written.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    place = folder / FOLDER / f"{name}-at-{stamp}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            write_atomic(place / file, text)
    except OSError as error:
        raise UserError(f"cannot export into {place}: {error.strerror}") from error
    return place
