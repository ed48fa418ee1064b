"""Who may act now: one process at a time, also of several machines that share a disk.

A lease is a lock of a file, which the kernel releases when its holder dies, however it dies. The file names the holder.
Where the file system has no such locks, or has them for each machine apart, the exclusive creation of a second file
decides. That file outlives a holder that is killed: it counts for nothing once the holder is known to be dead, and what
nobody can know, everybody waits for.
"""

import contextlib
import errno
import fcntl
import json
import os
import random
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rbp_engine.errors import UserError
from rbp_engine.os_process import Alive, Process, here, is_alive
from rbp_engine.untrusted_files import parse_json

PATIENCE_S = 30.0
LARGEST_RECORD = 4096
MOUNTS = Path("/proc/self/mountinfo")
# A lock of the open file and not of the process. Of one byte, far behind the record, which CIFS lets nobody else read
# otherwise. Unlike one by flock, it also holds between a server of NFS and its clients.
_LOCK = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 2**40, 1, 0)
# Not ENOLCK: it may pass, and then others would go by the lock.
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
# File systems whose locks other machines do not see, and those of FUSE that pass them on or have only one machine.
_LOCAL_LOCKS = frozenset({"9p", "afs", "beegfs", "fuse", "prl_fs", "vboxsf", "virtiofs"})
_SHARED_BY_FUSE = frozenset({"ceph", "ceph-fuse", "encfs", "fuse-overlayfs", "glusterfs", "gocryptfs", "juicefs"})
_LOCAL_OPTIONS = frozenset({"nolock", "local_lock=all", "local_lock=posix", "localflock", "nobrl"})


class LeaseHeld(UserError):
    """Another process holds a lease; the message names it."""


class Lease:
    """A lease that this process holds until it releases it, or dies."""

    def __init__(self, path: Path, folder: int | None, descriptor: int | None) -> None:
        self._path, self._folder, self._descriptor = path, folder, descriptor

    def release(self) -> None:
        """Let others have it. To be called once."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            with contextlib.suppress(OSError):  # what it says may be late news of a write; it is closed all the same
                os.close(self._descriptor)
        elif _read(_exclusive(self._path), self._folder) == here():
            _unlink(_exclusive(self._path), self._folder)


def try_take(path: Path, folder: int | None = None) -> Lease | None:
    """The lease with the file `path`, or None if another process or thread has it, or may have it.

    `folder` is the descriptor of the file's folder, if that must not be looked for by its path. Raises OSError.
    """
    descriptor = _open(path, folder, os.O_RDWR | os.O_CREAT)
    try:
        if _reaches_all(descriptor):
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK)
            if not _is_at(path, folder, descriptor):  # removed since it was opened: others lock the next one
                return None
            with contextlib.suppress(OSError):  # a full disk: the lock counts, and only its holder has no name
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, _record(), 0)
            return Lease(path, folder, os.dup(descriptor))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        if error.errno not in _NO_LOCKS:
            raise
    finally:
        os.close(descriptor)
    return Lease(path, folder, None) if _create(path, folder) else None


@contextlib.contextmanager
def taken(path: Path, folder: int | None = None, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold a lease. Raises LeaseHeld if somebody else holds it longer than that, and OSError."""
    deadline = time.monotonic() + patience_s
    while (lease := try_take(path, folder)) is None:
        if time.monotonic() > deadline:
            raise LeaseHeld(_held(path, holder(path, folder) or Process()))
        time.sleep(random.uniform(0.001, 0.01))
    try:
        yield
    finally:
        lease.release()


def holder(path: Path, folder: int | None = None) -> Process | None:
    """The process that holds a lease, or may hold it; one without a pid if nobody knows which; None for none.

    Raises OSError.
    """
    try:
        descriptor = _open(path, folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        if _reaches_all(descriptor):
            found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _LOCK)
            free = struct.unpack_from("h", found)[0] == fcntl.F_UNLCK
            return None if free else _parsed(os.read(descriptor, LARGEST_RECORD))
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    finally:
        os.close(descriptor)
    process = _read(_exclusive(path), folder)
    return None if process is None or is_alive(process) is Alive.NO else process


def _held(path: Path, process: Process) -> str:
    sentence = f"{path} is held by {process}: try again once that is done"
    if _exclusive(path).exists():
        sentence += f"; if that process is gone for good, remove {_exclusive(path)}"
    return sentence


def _record() -> bytes:
    return json.dumps(asdict(here())).encode()


def _parsed(content: bytes) -> Process:
    """The process in a record; one without a pid if it is damaged, or not whole yet."""
    with contextlib.suppress(ValueError, TypeError):
        return Process(**parse_json(content))
    return Process()


def _open(path: Path, folder: int | None, flags: int) -> int:
    name = path if folder is None else path.name
    return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666, dir_fd=folder)


def _is_at(path: Path, folder: int | None, descriptor: int) -> bool:
    """Whether a path still leads to an open file."""
    try:
        found = os.stat(path if folder is None else path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


def _exclusive(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _create(path: Path, folder: int | None) -> bool:
    """Create the file that stands for the lease where there are no locks; whether that was possible."""
    held = _exclusive(path)
    while True:
        with contextlib.suppress(FileExistsError):
            descriptor = _open(held, folder, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                os.write(descriptor, _record())
            except OSError:
                _unlink(held, folder)
                raise
            finally:
                os.close(descriptor)
            return True
        if not _remove_dead(held, folder):
            return False


def _remove_dead(held: Path, folder: int | None) -> bool:
    """Remove the file of a holder that is known to be dead; whether it is gone.

    Only processes of the holder's boot and namespace know it. They take turns by a lock of the namespace, which is in
    the kernel: else a second one could remove the file of the one that has taken the lease meanwhile.
    """
    if (process := _read(held, folder)) is not None and is_alive(process) is not Alive.NO:
        return False
    descriptor = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process = _read(held, folder)
        if process is not None and is_alive(process) is Alive.NO:
            _unlink(held, folder)
        return process is None or is_alive(process) is Alive.NO
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _read(path: Path, folder: int | None) -> Process | None:
    """The process in a file; None if there is no file."""
    try:
        descriptor = _open(path, folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return _parsed(os.read(descriptor, LARGEST_RECORD))
    finally:
        os.close(descriptor)


def _unlink(path: Path, folder: int | None) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path if folder is None else path.name, dir_fd=folder)


def _reaches_all(descriptor: int) -> bool:
    """Whether a lock of this open file is seen by all machines that can open it."""
    try:
        information = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    except OSError:
        return False
    mount = next((words[1] for line in information.splitlines() if (words := line.split())[0] == "mnt_id:"), "")
    return _mount_reaches_all(mount, MOUNTS)


def _mount_reaches_all(mount: str, mounts: Path) -> bool:
    """The same of a mount by its id, as far as that is known. Read anew each time: ids are given to later mounts."""
    for line in mounts.read_text(errors="replace").splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[0] == mount:
            kind, _, options = rest.split()
            fuse, _, name = kind.partition(".")
            apart = kind in _LOCAL_LOCKS or (fuse == "fuse" and name not in _SHARED_BY_FUSE)
            return not apart and _LOCAL_OPTIONS.isdisjoint(options.split(","))
    return False
