"""Allow one conversion of a cache at a time, by an exclusively created file that names the process."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rbp_engine.data.events.errors import EventDataError
from rbp_engine.os_process import Alive, Process, here, is_alive
from rbp_engine.printable import one_line
from rbp_engine.untrusted_files import read_untrusted

# A process writes the line right after creating the file, so a file empty for longer than this is stale.
_WRITING_S: Final = 2.0
# Another host's processes cannot be inspected; a working one calls `Held.beat`.
_SILENT_S: Final = 600.0


class AlreadyLocked(EventDataError):
    """Another process holds the lock."""


class LockLost(EventDataError):
    """Another process has taken the lock over."""


class Held:
    """A lock file that this process has created. It is another one's if another file lies in its place."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def is_mine(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except OSError:  # it is gone; on NFS the open one may be stale
            return False

    def beat(self) -> None:
        """Show other hosts that this process is working; call this more often than every ten minutes.

        Raises LockLost if another process has taken the lock over: nothing that it guards may be touched then.
        """
        if not self.is_mine():
            raise LockLost(
                f"{self.path} was taken over by {_holder(self.path)}, since this process was silent for more than "
                f"{_SILENT_S:g} s: wait until that conversion has ended, then start again"
            )
        os.utime(self._descriptor)

    def release(self) -> None:
        """Remove the file, unless another process has taken it over."""
        if self.is_mine():
            # A process that may find it stale looks at it in this lock, too.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if self.is_mine():
                self.path.unlink()
        os.close(self._descriptor)


@contextmanager
def lock(path: Path, *, wait: bool) -> Iterator[Held]:
    """Hold the lock file `path`. Takes over the lock of a dead process: of this host at once, of another once silent.

    If a live process holds it, wait, or raise `AlreadyLocked` with the holder.
    """
    while (held := _take(path)) is None:
        if not wait:
            raise AlreadyLocked(f"{path} is held by {_holder(path)}, which is converting: wait for it or end it")
        time.sleep(0.2)
    try:
        yield held
    finally:
        held.release()


def _take(path: Path) -> Held | None:
    if held := _create(path):
        return held
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return _create(path)
    try:
        # Two processes may find the same stale lock. The second one sees that the file it opened was removed.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        opened = os.fstat(descriptor)
        try:
            same = os.path.samestat(opened, path.stat())
        except FileNotFoundError:
            return None
        if not same or not _is_stale(os.read(descriptor, 4096), opened.st_mtime):
            return None
        path.unlink()
        return _create(path)
    finally:
        os.close(descriptor)


def _create(path: Path) -> Held | None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return None
    os.write(descriptor, json.dumps(asdict(here())).encode())
    return Held(path, descriptor)


def _is_stale(content: bytes, touched: float) -> bool:
    try:
        alive = is_alive(Process(**json.loads(content)))
    except (ValueError, TypeError):
        return time.time() - touched > _WRITING_S
    return alive is Alive.NO or (alive is Alive.UNKNOWN and time.time() - touched > _SILENT_S)


def _holder(path: Path) -> str:
    try:
        return one_line(str(Process(**json.loads(read_untrusted(path, 4096)))))
    except (OSError, ValueError, TypeError):
        return "a process that has just begun or ended"
