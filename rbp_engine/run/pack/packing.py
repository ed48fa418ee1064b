"""Pack a run that has ended into one file, and unpack one that somebody else may have packed: all of it, or nothing.

It is not compressed: weights, which are nearly all of it, do not compress. Of ResNet-18 after two checkpoints (179 MB),
gzip leaves 93 % in 25 times the time, xz the same in 400 times.

Names and sizes are checked before a byte is written. The files go into a hidden folder, as regular ones whatever the
archive calls them, with their checksums checked, and it becomes the run at the end. Nothing is executed.
"""

import contextlib
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rbp_engine.disk import sync
from rbp_engine.printable import one_line
from rbp_engine.run import trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import RunDirectory, contents, load_json, refuse_special, write_json
from rbp_engine.run.files.run_json import load_run_json
from rbp_engine.run.launch import making
from rbp_engine.run.pack.archive import (
    NEEDED,
    UNUSABLE,
    Packed,
    checked,
    name_in,
    name_problem,
    opened,
    weights_problem,
)
from rbp_engine.run.store.store import refuse_live

_MIB: Final = 2**20
#: Left free, so that what runs meanwhile can still write.
_SPARE: Final = 64 * _MIB


def pack(run: RunDirectory, output: Path, weights: str = "all") -> Packed:
    """Write a run into the file `output`, which must not exist, with the checkpoints that `weights` says.

    Raises RunError if the run is live or holds what no run makes, or if the file cannot be written; it then leaves no
    file.
    """
    refuse_live(run)
    _require_usable_code(run)
    if os.path.lexists(output):
        raise RunError(f"{output} is there already: name another file with -o, or remove it")
    newest = run.newest_checkpoint
    last = newest.name if newest else ""
    names = [name for name in _names(run) if _is_wanted(name, weights, last)]
    # What unpack would refuse must not be in a backup.
    judged = ((name, name_problem(name) or weights_problem(name, run.path / name)) for name in names)
    if problems := [f"{name} {problem}" for name, problem in judged if problem]:
        raise RunError(f"{run.id} cannot be packed: {'; '.join(problems[:5])}")
    if missing := [name for name in NEEDED if name not in names]:
        raise RunError(f"{run.id} cannot be packed: it has no {', '.join(missing)}")
    try:
        if not os.path.lexists(output.parent):
            output.parent.mkdir(parents=True)
        with making.hidden_folder(output.parent) as hidden:
            temporary = hidden / "packed.zip"
            with temporary.open("xb") as file:
                with zipfile.ZipFile(file, "w") as archive:
                    for name in names:
                        _add(run, name, archive)
                file.flush()
                os.fsync(file.fileno())
            _put_in_place(temporary, output)
    except FileExistsError:
        raise RunError(f"{output} is there already: name another file with -o, or remove it") from None
    except OSError as error:
        where = error.filename if Path(error.filename or "").is_relative_to(run.path) else output
        raise RunError(f"cannot pack {run.id}: {where}: {error.strerror}") from error
    return Packed(len(names), sum(entry.file_size for entry in archive.infolist()))


def _require_usable_code(run: RunDirectory) -> None:
    """Raise RunError for code that nobody can agree to; for other code, its user is asked when it is executed."""
    with contextlib.suppress(trust.Untrusted):
        trust.require_code(run)


def _put_in_place(temporary: Path, output: Path) -> None:
    """Give the file its name, never over one that has come meanwhile, as far as the file system can tell."""
    try:
        os.link(temporary, output)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        temporary.rename(output)
    sync(output.parent)


def _names(run: RunDirectory) -> Iterator[str]:
    """The files of a run in order, by their paths in its folder. Raises RunError for links and special files."""
    for path, found in contents(run.path):
        parts = path.relative_to(run.path).parts
        refuse_special(run, path, found.st_mode)
        if stat.S_ISREG(found.st_mode) and parts[0] != "control" and not any(map(_is_passing, parts)):
            yield "/".join(parts)


def _is_passing(name: str) -> bool:
    """Whether a file or folder is only there while something is written."""
    return name.startswith(".") or name.endswith((".tmp", ".old"))


def _is_wanted(name: str, weights: str, newest: str) -> bool:
    """Whether a file is packed, if it is one of a checkpoint."""
    if not name.startswith("checkpoints/"):
        return True
    folder = name.split("/")[1]
    return {"all": True, "none": False, "best": folder == "best", "last": folder == newest}[weights]


def _add(run: RunDirectory, name: str, archive: zipfile.ZipFile) -> None:
    """Add a file of the run, without owner, time and permissions; it must stay as long as it is."""
    with os.fdopen(inside.open_file(run.path / name, run.path, os.O_RDONLY), "rb") as source:
        entry = zipfile.ZipInfo(f"{run.id}/{name}")
        size = entry.file_size = os.fstat(source.fileno()).st_size
        with archive.open(entry, "w") as target:
            shutil.copyfileobj(source, target)
        if source.tell() != size:
            raise RunError(f"{name} is being changed: pack the run when nothing writes into it")


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
    try:
        _require_usable_code(hidden)
        # The folder of a run may have been copied or renamed before it was packed, so that its file has an earlier id.
        if load_run_json(hidden).id != run_id:
            write_json(hidden.run_json, load_json(hidden.run_json) | {"id": run_id})
    except RunError as error:  # the hidden folder is about to go
        raise RunError(str(error).replace(f"{hidden.path}/", "").replace(hidden.id, run_id)) from None
