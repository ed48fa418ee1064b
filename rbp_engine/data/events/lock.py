"""Allow one conversion of a cache at a time, by an exclusively created file that names the process."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rbp_engine.data.events.errors import EventDataError
from rbp_engine.os_process import is_alive, start_time
from rbp_engine.untrusted_files import read_untrusted

# A process writes the line right after creating the file, so a file empty for longer than this is stale.
_WRITING_S: Final = 2.0
# Another host's processes cannot be inspected; a working one calls `beat`.
_SILENT_S: Final = 600.0


class AlreadyLocked(EventDataError):
    """Another process holds the lock."""


@contextmanager
def lock(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock file `path`. Takes over the lock of a dead process: of this host at once, of another once silent.

    If a live process holds it, wait, or raise `AlreadyLocked` with the holder.
    """
    while not _take(path):
        if not wait:
            raise AlreadyLocked(f"{path} is held by {_holder(path)}, which is converting: wait for it or end it")
        time.sleep(0.2)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def beat(path: Path) -> None:
    """Show other hosts that the holder of the lock `path` is working; call this more often than every ten minutes."""
    os.utime(path)


def _take(path: Path) -> bool:
    if _create(path):
        return True
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
            return False
        if not same or not _is_stale(os.read(descriptor, 4096), opened.st_mtime):
            return False
        path.unlink()
        return _create(path)
    finally:
        os.close(descriptor)


def _create(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    owner = {"pid": os.getpid(), "started": start_time(os.getpid()), "host": socket.gethostname()}
    os.write(descriptor, json.dumps(owner).encode())
    os.close(descriptor)
    return True


def _is_stale(content: bytes, touched: float) -> bool:
    try:
        owner = json.loads(content)
        if owner["host"] != socket.gethostname():
            return time.time() - touched > _SILENT_S
        return not is_alive(owner["pid"], owner["started"])
    except (ValueError, KeyError, TypeError):
        return time.time() - touched > _WRITING_S


def _holder(path: Path) -> str:
    try:
        owner = json.loads(read_untrusted(path, 4096))
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has just begun or ended"
