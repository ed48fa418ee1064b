"""State that this user's runs on this host share: a folder with the queue and the device claims, and a lock for both.

Several hosts may share a home directory, so the folder has the host's name.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rbp_engine.owners import make_private
from rbp_engine.run.errors import RunError
from rbp_engine.settings.locations import state_directory


def host_directory(*, make: bool = True) -> Path:
    """`hosts/<host name>` in the user's state directory; other users may not read it. Raises RunError."""
    state = state_directory()
    path = state / "hosts" / socket.gethostname()
    if not make:
        return path
    with usable(path):
        # What lies there is executed, and has the environments of what was queued.
        for folder in (state, path.parent, path):
            make_private(folder)
    return path


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Raise RunError where something of this host's state, as `path`, cannot be read or written."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot use {error.filename or path}, where runs of this host wait for devices: {error.strerror}; "
            "XDG_STATE_HOME may name another folder"
        ) from error


@contextmanager
def locked() -> Iterator[None]:
    """Be the only process (and thread) of this user that reads and changes queue and claims. Must not be nested.

    The kernel releases the lock when the process dies, however it dies. Raises RunError if there can be none.
    """
    path = host_directory() / "lock"
    with usable(path):
        file = path.open("a")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def try_lock(path: Path) -> int | None:
    """Lock a file until the process ends or the descriptor is closed; None if another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
