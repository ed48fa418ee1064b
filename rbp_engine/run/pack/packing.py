"""Pack a run that has ended into one file.

It is not compressed: weights, which are nearly all of it, do not compress. Of ResNet-18 after two checkpoints (179 MB),
gzip leaves 93 % in 25 times the time, xz the same in 400 times.
"""

import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from rbp_engine.disk import sync
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import RunDirectory, contents, refuse_special
from rbp_engine.run.launch import making
from rbp_engine.run.pack.archive import NEEDED, Packed, name_problem
from rbp_engine.run.pack.weights_files import weights_problem
from rbp_engine.run.store.store import refuse_live


def pack(run: RunDirectory, output: Path, weights: str = "all") -> Packed:
    """Write a run into the file `output`, which must not exist, with the checkpoints that `weights` says.

    Raises RunError if the run is live or holds what no run makes, or if the file cannot be written; it then leaves no
    file.
    """
    refuse_live(run)
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
    for path, mode in contents(run.path):
        parts = path.relative_to(run.path).parts
        refuse_special(run, path, mode)
        if stat.S_ISREG(mode) and parts[0] != "control" and not any(map(_is_passing, parts)):
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
