"""State that this user's runs on this host share: a folder with the queue, which one process at a time changes."""

import contextlib
import functools
import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

from rbp_engine import lease
from rbp_engine.lease import Lease, LeaseHeld
from rbp_engine.os_process import Process, here
from rbp_engine.owners import make_private
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import write_atomic
from rbp_engine.settings.locations import state_directory

LOCK, DISPATCHER = "lock", "dispatcher.lock"


def host_directory(*, make: bool = True) -> Path:
    """`hosts/<host name>` in the user's state directory; other users may not read it. Raises RunError.

    Several hosts may share a home directory. Until its next boot, a host stays with the name that it had first.
    """
    hosts = state_directory() / "hosts"
    process = here()
    place = hashlib.sha256(f"{process.boot} {process.namespace}".encode()).hexdigest()
    kept = hosts / f".name-{place[:16]}"
    name = _name_in(kept)
    if not make:
        return hosts / name
    with usable(hosts / name):
        # What lies there is executed, and has the environments of what was queued.
        for folder in (hosts.parent, hosts, hosts / name):
            make_private(folder)
        if process.is_here and not kept.exists():
            write_atomic(kept, name)
    return hosts / name


def _name_in(kept: Path) -> str:
    try:
        return _read_once(kept)
    except OSError:
        return socket.gethostname()


@functools.lru_cache(maxsize=16)
def _read_once(kept: Path) -> str:
    return Path(kept.read_text()).name or socket.gethostname()


@contextlib.contextmanager
def usable(path: Path) -> Iterator[None]:
    """Raise RunError where something of this host's state, as `path`, cannot be read or written, or is held."""
    try:
        yield
    except LeaseHeld as error:
        raise RunError(str(error)) from error
    except OSError as error:
        raise RunError(
            f"cannot use {error.filename or path}, where runs of this host wait for devices: {error.strerror}; "
            "XDG_STATE_HOME may name another folder"
        ) from error


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Be the only process (and thread) of this user that reads and changes the queue. Must not be nested.

    Nothing slow may be done meanwhile. Raises RunError if that is impossible, or somebody has it for half a minute.
    """
    path = host_directory() / LOCK
    with contextlib.ExitStack() as held:
        with usable(path):
            held.enter_context(lease.taken(path))
        yield


def be_dispatcher() -> Lease | None:
    """The lease of this host's dispatcher; None if there is one. Raises RunError."""
    path = host_directory() / DISPATCHER
    with usable(path):
        return lease.try_take(path)


def dispatcher(host: Path | None = None) -> Process | None:
    """The dispatcher of this host, or of the one with that folder; None if there is none. Raises RunError."""
    path = (host or host_directory(make=False)) / DISPATCHER
    with usable(path):
        return lease.holder(path)
