"""Unpack a run that somebody else may have packed: all of it, or nothing.

Names and sizes are checked before a byte is written. The files go into a hidden folder, as regular ones whatever the
archive calls them, with their checksums checked, and it becomes the run at the end. Nothing is executed.
"""

import os
import shutil
import zipfile
from pathlib import Path
from typing import Final

from rbp_engine.printable import one_line
from rbp_engine.run import trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import RunDirectory, load_json, write_json
from rbp_engine.run.files.run_json import load_run_json
from rbp_engine.run.launch import making
from rbp_engine.run.pack.archive import UNUSABLE, Packed, checked, name_in, opened
from rbp_engine.run.pack.weights_files import weights_problem

_MIB: Final = 2**20
#: Left free, so that what runs meanwhile can still write.
_SPARE: Final = 64 * _MIB


def unpack(file: Path, runs: Path, run_id: str | None = None) -> tuple[RunDirectory, Packed]:
    """Make the run that is packed in `file`, in the directory `runs`, with its own id or `run_id`.

    Raises RunError, and leaves nothing behind, if the file is not what it says or not a packed run, if a run of that id
    exists, or if there is no room; Untrusted for a runs directory of another user's.
    """
    trust.require_place(runs)
    try:
        with opened(file) as archive:
            own, packed = checked(archive)
            wanted = run_id or own
            if os.path.lexists(runs / wanted):
                raise RunError(f"a run {wanted} exists already in {runs}: give it another id with --as")
            _check_room(runs, packed)
            run = making.make_run(runs, wanted, lambda: wanted, lambda hidden, _: _fill(hidden, archive, wanted))
    except RunError as error:
        raise RunError(f"cannot unpack {file}: {error}") from None
    except OSError as error:
        raise RunError(f"cannot unpack {file}: {error.filename or runs}: {error.strerror}") from error
    except UNUSABLE as error:
        why = one_line(str(error) or "it is truncated", 200)
        raise RunError(f"cannot unpack {file}: it is no packed run, or damaged: {why}") from None
    return run, packed


def _check_room(runs: Path, packed: Packed) -> None:
    there = next(path for path in (runs, *runs.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if (needed := packed.size + _SPARE) > free:
        raise RunError(
            f"it needs {needed / _MIB:.0f} MiB, {_SPARE // _MIB} of them to spare, and {there} has "
            f"{free / _MIB:.0f} MiB free"
        )


def _fill(hidden: RunDirectory, archive: zipfile.ZipFile, run_id: str) -> None:
    """Write the files of a run that is being made."""
    for entry in archive.infolist():
        name = name_in(entry)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        descriptor = inside.open_file(hidden.path / name, hidden.path, flags, make=True)
        with os.fdopen(descriptor, "wb") as target, archive.open(entry) as source:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        if problem := weights_problem(name, hidden.path / name):
            raise RunError(f"{name} {problem}")
    # The folder of a run may have been copied or renamed before it was packed, so that its file has an earlier id.
    if load_run_json(hidden).id != run_id:
        write_json(hidden.run_json, load_json(hidden.run_json) | {"id": run_id})
