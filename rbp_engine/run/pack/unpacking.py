"""Unpack a run that somebody else may have packed: all of it, or nothing.

The archive must be what `packing.py` writes: its manifest, and then exactly the files of the manifest, each behind the
header that tarfile makes of its name and size. All headers are checked before a byte is written, so that no link,
device or sparse file is ever looked into. The files go into a hidden folder with their hashes checked, and it becomes
the run at the end. Nothing is executed.
"""

import hashlib
import os
import shutil
import tarfile
from pathlib import Path
from typing import BinaryIO, Final

from rbp_engine.run import trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import RunDirectory, load_json, write_json
from rbp_engine.run.files.run_json import load_run_json
from rbp_engine.run.launch import making
from rbp_engine.run.pack.manifest import NAME, Manifest, PackedFile, parse_manifest
from rbp_engine.run.pack.packing import member
from rbp_engine.run.pack.weights_files import weights_problem
from rbp_engine.untrusted_files import JSON_LIMIT, open_untrusted

_BLOCK: Final = tarfile.BLOCKSIZE
_MIB: Final = 2**20
#: Left free, so that what runs meanwhile can still write.
_SPARE: Final = 64 * _MIB
#: tar fills its last record with zeros.
_LARGEST_END: Final = 64 * 2**10
_COMPRESSED: Final = {b"\x1f\x8b": "gunzip", b"BZ": "bunzip2", b"\xfd7": "unxz", b"(\xb5": "unzstd", b"PK": "unzip"}


def unpack(file: Path, runs: Path, run_id: str | None = None) -> tuple[RunDirectory, Manifest]:
    """Make the run that is packed in `file`, in the directory `runs`, with its own id or `run_id`.

    Raises RunError, and leaves nothing behind, if the file is not what it says or not a packed run, if a run of that id
    exists, or if there is no room; Untrusted for a runs directory of another user's.
    """
    trust.require_place(runs)
    try:
        with open_untrusted(file) as archive:
            manifest = _read_manifest(archive)
            wanted = run_id or manifest.id
            if os.path.lexists(runs / wanted):
                raise RunError(f"a run {wanted} exists already in {runs}: give it another id with --as")
            places = _check_members(archive, manifest)
            _check_room(runs, manifest)
            run = making.make_run(
                runs, wanted, lambda: wanted, lambda hidden, _: _fill(hidden, archive, manifest, places, wanted)
            )
    except RunError as error:
        raise RunError(f"cannot unpack {file}: {error}") from None
    except OSError as error:
        raise RunError(f"cannot unpack {file}: {error.filename or runs}: {error.strerror}") from error
    return run, manifest


def _read_manifest(archive: BinaryIO) -> Manifest:
    block = archive.read(_BLOCK)
    for begin, command in _COMPRESSED.items():
        if block.startswith(begin):
            raise RunError(f"it is compressed, and packed runs are not: use {command} first")
    name, kind, size = _described(block)
    if (name, kind) != (NAME, tarfile.REGTYPE):
        raise RunError("it is no packed run: it does not begin with a manifest (rbp runs pack makes one)")
    if not 0 <= size <= JSON_LIMIT:
        raise RunError(f"its manifest has {size} bytes, and at most {JSON_LIMIT} are read")
    content = archive.read(size)
    if len(content) < size:
        raise RunError("it is truncated, in its manifest")
    archive.seek(-size % _BLOCK, os.SEEK_CUR)
    return parse_manifest(content)


def _check_members(archive: BinaryIO, manifest: Manifest) -> dict[str, int]:
    """Where the contents of each file begin. Raises RunError unless the members are exactly those of the manifest."""
    size, places = os.fstat(archive.fileno()).st_size, {}
    for file in manifest.files:
        # Of a long name or a large size it begins with an extended header, which may then say this and nothing else.
        header = member(f"{manifest.id}/{file.name}", file.size).tobuf(tarfile.PAX_FORMAT)
        found = archive.read(len(header))
        if len(found) < len(header):
            raise RunError(f"it is truncated, before {file.name}")
        same = found[_BLOCK:-_BLOCK] == header[_BLOCK:-_BLOCK]
        if not same or any(_described(found[at:][:_BLOCK]) != _described(header[at:][:_BLOCK]) for at in (0, -_BLOCK)):
            raise RunError(f"in the place of {file.name} it has something else than its manifest says")
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


def _described(block: bytes) -> tuple[str, bytes, int]:
    """Name, type and size in a header; others of its fields are not used. Other programs may write them differently."""
    try:
        found = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        raise RunError("it is no tar archive, or damaged, or truncated") from None
    return found.name, found.type, found.size


def _check_room(runs: Path, manifest: Manifest) -> None:
    there = next(path for path in (runs, *runs.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if (needed := manifest.total + _SPARE) > free:
        raise RunError(
            f"it needs {needed / _MIB:.0f} MiB, {_SPARE // _MIB} of them to spare, and {there} has "
            f"{free / _MIB:.0f} MiB free"
        )


def _fill(hidden: RunDirectory, archive: BinaryIO, manifest: Manifest, places: dict[str, int], run_id: str) -> None:
    """Write the files of a run that is being made."""
    for file in manifest.files:
        archive.seek(places[file.name])
        _write(archive, hidden, file)
        if problem := weights_problem(file.name, hidden.path / file.name):
            raise RunError(f"{file.name} {problem}")
    # The folder of a run may have been copied or renamed before it was packed, so that its file has an earlier id.
    if load_run_json(hidden).id != run_id:
        write_json(hidden.run_json, load_json(hidden.run_json) | {"id": run_id})


def _write(archive: BinaryIO, hidden: RunDirectory, file: PackedFile) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    descriptor = inside.open_file(hidden.path / file.name, hidden.path, flags, make=True)
    digest, left = hashlib.sha256(), file.size
    with os.fdopen(descriptor, "wb") as target:
        while left and (part := archive.read(min(_MIB, left))):
            digest.update(part)
            target.write(part)
            left -= len(part)
        target.flush()
        os.fsync(target.fileno())
    if digest.hexdigest() != file.sha256:
        raise RunError(f"{file.name} has other contents than its manifest says: the file is damaged")
