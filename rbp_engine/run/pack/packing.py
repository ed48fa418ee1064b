"""Pack a run that has ended into one file.

It is a plain tar archive, without compression: weights, which are nearly all of it, do not compress. Of ResNet-18 after
two checkpoints (179 MB), gzip leaves 93 % in 25 times the time, xz the same in 400 times. The best checkpoint is often
the newest one, too, and is then written once: that leaves 50 %.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import secrets
import stat
import tarfile
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from rbp_engine.disk import sync
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import RunDirectory, refuse_special
from rbp_engine.run.pack.manifest import NAME, NEEDED, Manifest, PackedFile, may_share, name_problem
from rbp_engine.run.pack.weights_files import weights_problem
from rbp_engine.run.store.store import refuse_live
from rbp_engine.untrusted_files import open_untrusted

WEIGHTS: Final = ("best", "last", "all", "none")
#: Folders and files that a run can do without: of its processes, and compiled code.
_LEFT_OUT: Final = ("__pycache__",)
_PART: Final = 2**20
#: A file that is still being written, beside where it is to be.
_UNFINISHED: Final = ".rbp-pack-"


def pack(run: RunDirectory, output: Path, weights: str = "all") -> Manifest:
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
    temporary = output.with_name(f"{_UNFINISHED}{secrets.token_hex(4)}")
    try:
        files = tuple(_described(run, names))
        manifest = Manifest(run.id, _version(), weights, files)
        _remove_left(output.parent)
        with temporary.open("xb") as archive:
            with contextlib.suppress(OSError):  # without such locks, what a killed pack leaves is not removed
                fcntl.flock(archive, fcntl.LOCK_EX)
            _write(run, manifest, archive)
            archive.flush()
            os.fsync(archive.fileno())
        _put_in_place(temporary, output)
    except FileExistsError:
        raise RunError(f"{output} is there already: name another file with -o, or remove it") from None
    except OSError as error:
        where = output if error.filename in (None, str(temporary)) else error.filename
        raise RunError(f"cannot pack {run.id}: {where}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):  # what cannot be removed could not be written
            temporary.unlink()
    return manifest


def _remove_left(folder: Path) -> None:
    """Remove the unfinished files of this folder of writers that were killed: one that writes keeps its own locked.

    An empty one may be new, and not locked yet.
    """
    for path in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError), open_untrusted(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_size:
                path.unlink()


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
    for folder, folders, files in os.walk(run.path):
        folders[:] = sorted(name for name in folders if not _is_passing(name))
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            relative = str(path.relative_to(run.path))
            mode = path.lstat().st_mode
            refuse_special(run, path, mode)
            if stat.S_ISREG(mode) and not _is_passing(name) and not _is_of_a_process(relative):
                yield relative


def _is_passing(name: str) -> bool:
    """Whether a file or folder is only there while something is written, or can be made again."""
    return name.startswith(".") or name.endswith((".tmp", ".old")) or name in _LEFT_OUT


def _is_of_a_process(name: str) -> bool:
    """Whether a file is for the run's processes, as a request to stop."""
    return name.startswith("control/") and name_problem(name) != ""


def _is_wanted(name: str, weights: str, newest: str) -> bool:
    """Whether a file is packed, if it is one of a checkpoint."""
    if not name.startswith("checkpoints/"):
        return True
    folder = name.split("/")[1]
    return {"all": True, "none": False, "best": folder == "best", "last": folder == newest}[weights]


def _described(run: RunDirectory, names: list[str]) -> Iterator[PackedFile]:
    known: dict[tuple[str, int, str], str] = {}
    for name in names:
        with _opened(run, name) as file:
            digest, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
        key = (name.rpartition("/")[2], size, digest)
        yield PackedFile(name, size, digest, known.get(key, "") if may_share(name) else "")
        if may_share(name):
            known.setdefault(key, name)


@contextlib.contextmanager
def _opened(run: RunDirectory, name: str) -> Iterator[BufferedReader]:
    with os.fdopen(inside.open_file(run.path / name, run.path, os.O_RDONLY), "rb") as file:
        yield file


def _write(run: RunDirectory, manifest: Manifest, archive: BinaryIO) -> None:
    content = manifest.as_json()
    archive.write(header(f"{run.id}/{NAME}", len(content)))
    archive.write(content + padding(len(content)))
    for file in manifest.stored:
        archive.write(header(f"{run.id}/{file.name}", file.size))
        with _opened(run, file.name) as source:
            _copy(source, archive, file)
        archive.write(padding(file.size))
    archive.write(bytes(2 * tarfile.BLOCKSIZE))


def _copy(source: BinaryIO, archive: BinaryIO, file: PackedFile) -> None:
    digest, left = hashlib.sha256(), file.size
    while left and (part := source.read(min(_PART, left))):
        digest.update(part)
        archive.write(part)
        left -= len(part)
    if left or source.read(1) or digest.hexdigest() != file.sha256:
        raise RunError(f"{file.name} is being changed: pack the run when nothing writes into it")


def header(name: str, size: int) -> bytes:
    """The header of a member; from 8 GiB, and for a name that is too long for it, an extended one (PAX) before it.

    Raises RunError for a name that is no text.
    """
    member = tarfile.TarInfo(name)
    member.size = size
    try:
        with contextlib.suppress(ValueError):
            return member.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
        return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
    except ValueError as error:
        raise RunError(f"{name} cannot be packed: {error}") from None


def padding(size: int) -> bytes:
    """What follows the contents of a member up to the next one."""
    return bytes(-size % tarfile.BLOCKSIZE)


def _version() -> str:
    try:
        return importlib.metadata.version("rbp-tui")
    except importlib.metadata.PackageNotFoundError:
        return ""
