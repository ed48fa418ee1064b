"""Unpack a run that somebody else may have packed: all of it, or nothing.

The archive must be what `packing.py` writes: its manifest, and then exactly the files of the manifest. All headers are
checked before a byte is written; there is no other member, so that no link, device or sparse file is ever looked into,
and of an extended header, one at most before each file, only name and size. The files go into a hidden folder with
their hashes checked, and it becomes the run at the end. Nothing is executed.
"""

import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from rbp_engine.run import trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import RunDirectory, check_run_id, load_json, write_json
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.launch import making
from rbp_engine.run.pack.manifest import NAME, Manifest, PackedFile, parse_manifest
from rbp_engine.run.pack.weights_files import weights_problem
from rbp_engine.untrusted_files import JSON_LIMIT, open_untrusted

_BLOCK: Final = tarfile.BLOCKSIZE
_MIB: Final = 2**20
_PART: Final = _MIB
#: Left free, so that what runs meanwhile can still write.
_SPARE: Final = 64 * _MIB
#: tar fills its last record with zeros.
_LARGEST_END: Final = 64 * 2**10
_LARGEST_EXTENDED: Final = 64 * 2**10
_RECORD: Final = re.compile(rb"([0-9]{1,5}) (path|size)=")
_COMPRESSED: Final = {b"\x1f\x8b": "gunzip", b"BZ": "bunzip2", b"\xfd7": "unxz", b"(\xb5": "unzstd", b"PK": "unzip"}


def unpack(file: Path, runs: Path, run_id: str | None = None) -> tuple[RunDirectory, Manifest]:
    """Make the run that is packed in `file`, in the directory `runs`, with its own id or `run_id`.

    Raises RunError, and leaves nothing behind, if the file is not what it says or not a packed run, if a run of that id
    exists, or if there is no room; Untrusted for a runs directory of another user's.
    """
    if run_id is not None:
        check_run_id(run_id)
    trust.require_place(runs)
    try:
        with open_untrusted(file) as archive:
            manifest = _read_manifest(archive)
            run = RunDirectory(runs / (run_id or manifest.id))
            if os.path.lexists(run.path):
                raise RunError(_taken(run))
            places = _check_members(archive, manifest)
            _check_room(runs, manifest)
            _unpack(archive, manifest, places, run)
    except RunError as error:
        raise RunError(f"cannot unpack {file}: {error}") from None
    except OSError as error:
        raise RunError(f"cannot unpack {file}: {error.filename or runs}: {error.strerror}") from error
    return run, manifest


def _taken(run: RunDirectory) -> str:
    return f"a run {run.id} exists already in {run.path.parent}: give it another id with --as"


def _read_manifest(archive: BinaryIO) -> Manifest:
    block = archive.read(_BLOCK)
    for begin, command in _COMPRESSED.items():
        if block.startswith(begin):
            raise RunError(f"it is compressed, and packed runs are not: use {command} first")
    member = _member(block)
    run_id, _, name = member.name.partition("/")
    if name != NAME or member.type != tarfile.REGTYPE:
        raise RunError("it is no packed run: it does not begin with a manifest (rbp runs pack makes one)")
    if not 0 <= member.size <= JSON_LIMIT:
        raise RunError(f"its manifest has {member.size} bytes, and at most {JSON_LIMIT} are read")
    content = archive.read(member.size)
    if len(content) < member.size:
        raise RunError("it is truncated, in its manifest")
    manifest = parse_manifest(content)
    if manifest.id != run_id:
        raise RunError("its manifest is of another run")
    archive.seek(-member.size % _BLOCK, os.SEEK_CUR)
    return manifest


def _check_members(archive: BinaryIO, manifest: Manifest) -> dict[str, int]:
    """Where the contents of each file begin. Raises RunError unless the members are exactly those of the manifest."""
    size, places = os.fstat(archive.fileno()).st_size, {}
    for file in manifest.stored:
        member = _member(archive.read(_BLOCK))
        if member.type == tarfile.XHDTYPE:
            member = _extended(archive, member.size) or member
        if member.type != tarfile.REGTYPE:
            raise RunError(f"in the place of {file.name} it has {_kind(member)}, and a run has only files")
        if (member.name, member.size) != (f"{manifest.id}/{file.name}", file.size):
            raise RunError(f"in the place of {file.name} it has another file than its manifest says")
        places[file.name] = archive.tell()
        archive.seek(file.size + -file.size % _BLOCK, os.SEEK_CUR)
        if archive.tell() > size:
            raise RunError(f"it is truncated, in {file.name}")
    end = archive.read(_LARGEST_END + 1)
    if len(end) < 2 * _BLOCK:
        raise RunError("it is truncated, at its end")
    if any(end) or len(end) > _LARGEST_END:
        raise RunError("it has more in it than its manifest says")
    return places


def _member(block: bytes) -> tarfile.TarInfo:
    """The member in a header. An extended header, which describes the next one, is a member of its own here."""
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        raise RunError("it is no tar archive, or damaged, or truncated") from None


def _extended(archive: BinaryIO, size: int) -> tarfile.TarInfo | None:
    """The member behind an extended header of so many bytes, which has just been read, with the name and size that it
    says; None if it says anything else."""
    if not 0 < size <= _LARGEST_EXTENDED:
        return None
    content = archive.read(size)
    archive.seek(-size % _BLOCK, os.SEEK_CUR)
    said: dict[bytes, bytes] = {}
    while content:
        record = _RECORD.match(content)
        if record is None or record[2] in said:
            return None
        one, content = content[: int(record[1])], content[int(record[1]) :]
        if len(one) != int(record[1]) or not record.end() < len(one) or one[-1:] != b"\n":
            return None
        said[record[2]] = one[record.end() : -1]
    member = _member(archive.read(_BLOCK))
    if (name := said.get(b"path")) is not None:
        member.name = name.decode(errors="surrogateescape")
    if (number := said.get(b"size")) is not None:
        member.size = int(number) if re.fullmatch(rb"[0-9]{1,19}", number) else -1
    return member


def _kind(member: tarfile.TarInfo) -> str:
    kinds = {
        tarfile.SYMTYPE: "a symbolic link",
        tarfile.LNKTYPE: "a hard link",
        tarfile.DIRTYPE: "a folder",
        tarfile.CHRTYPE: "a device",
        tarfile.BLKTYPE: "a device",
        tarfile.FIFOTYPE: "a named pipe",
        tarfile.GNUTYPE_SPARSE: "a sparse file",
    }
    return kinds.get(member.type, "an extended header")


def _check_room(runs: Path, manifest: Manifest) -> None:
    there = next(path for path in (runs, *runs.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if (needed := manifest.total + _SPARE) > free:
        raise RunError(
            f"it needs {needed / _MIB:.0f} MiB, {_SPARE // _MIB} of them to spare, and {there} has "
            f"{free / _MIB:.0f} MiB free"
        )


def _unpack(archive: BinaryIO, manifest: Manifest, places: dict[str, int], run: RunDirectory) -> None:
    with making.hidden_folder(run.path.parent) as path:
        hidden = RunDirectory(path)
        for folder in (hidden.control, hidden.checkpoints, hidden.events().parent, hidden.stdout().parent):
            folder.mkdir(parents=True)
        for file in manifest.files:
            if file.same_as:
                _link(hidden, file)
            else:
                archive.seek(places[file.name])
                _write(archive, hidden, file)
            if problem := weights_problem(file.name, hidden.path / file.name):
                raise RunError(f"{file.name} {problem}")
        _check_run(hidden, run.id)
        if not making.publish(hidden.path, run):
            raise RunError(_taken(run))


def _write(archive: BinaryIO, hidden: RunDirectory, file: PackedFile) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    descriptor = inside.open_file(hidden.path / file.name, hidden.path, flags, make=True)
    digest = hashlib.sha256()
    with os.fdopen(descriptor, "wb") as target:
        for part in _parts(archive, file.size):
            digest.update(part)
            target.write(part)
            os.utime(hidden.path)  # for other hosts, which see no lock: it is not left
        target.flush()
        os.fsync(target.fileno())
    if digest.hexdigest() != file.sha256:
        raise RunError(f"{file.name} has other contents than its manifest says: the file is damaged")


def _parts(archive: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (part := archive.read(min(_PART, size))):
        size -= len(part)
        yield part


def _link(hidden: RunDirectory, file: PackedFile) -> None:
    """Make a file of the contents of an earlier one, as a run does with its best checkpoint."""
    source, target = (hidden.path / name for name in (file.same_as, file.name))
    with (
        inside.folder(source.parent, hidden.path) as first,
        inside.folder(target.parent, hidden.path, make=True) as other,
    ):
        first.link(target.name, other)


def _check_run(hidden: RunDirectory, run_id: str) -> None:
    """Raise RunError if the files are of no run, or of two; give it the id that it is to have.

    The folder of a run may have been copied or renamed before it was packed, so that its files have an earlier id.
    """
    summary = load_summary(hidden)
    if read_run_json(hidden).id not in ("", summary.id):
        raise RunError("its summary.json is of another run than its run.json")
    if run_id != summary.id:
        for path in (hidden.summary_json, hidden.run_json):
            write_json(path, load_json(path) | {"id": run_id})
