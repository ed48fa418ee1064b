"""Export of a screen: its picture as SVG, and its curves as CSV."""

import time
from collections.abc import Mapping
from pathlib import Path

from rbp_engine.errors import UserError
from rbp_engine.report.events_csv import events_csv
from rbp_engine.run.files.layout import RunDirectory, write_atomic

FOLDER = "rbp-export"


class ExportError(UserError):
    """The files cannot be written."""


def export_run(run: RunDirectory, picture: str, folder: Path, now: float | None = None) -> Path:
    """Export the SVG `picture` of the Monitor and the curves of its run."""
    return export(run.id, {"monitor.svg": picture, "curves.csv": events_csv(run)}, folder, now)


def export(name: str, files: Mapping[str, str], folder: Path, now: float | None = None) -> Path:
    """Write `files`, texts by name, into a new folder below `folder/rbp-export`, and return that folder.

    Raises ExportError.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    place = folder / FOLDER / f"{name}-at-{stamp}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            write_atomic(place / file, text)
    except OSError as error:
        raise ExportError(f"cannot export into {place}: {error.strerror}") from error
    return place
