"""Room on the disk that an attempt reserves at its start and releases at its end, which it can then record."""

import contextlib
import os
from pathlib import Path

from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import RunDirectory

RESERVE_BYTES = 256 * 1024


def make_reserve(run: RunDirectory, file: Path) -> None:
    """Reserve room by a file in the run; without it on a full disk, which later writes will report."""
    try:
        with os.fdopen(inside.open_file(file, run.path, os.O_WRONLY | os.O_CREAT), "wb") as reserve:
            reserve.write(b"\0" * RESERVE_BYTES)
    except OSError:  # use what room there is
        release_reserve(run, file)


def release_reserve(run: RunDirectory, file: Path) -> None:
    """Release it; if it cannot be removed, there may be room all the same."""
    with contextlib.suppress(OSError):
        inside.unlink(file, run.path)
