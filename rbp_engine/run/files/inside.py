"""Open, create, replace and remove what lies in a run's folder, never through a link.

Each folder below the run's own is opened by the descriptor of the one above it, and no link is followed. What is
changed therefore lies in the run, even if somebody puts a link in the place of a folder meanwhile. `below` is the
folder from which on that holds, the run's own: users keep runs on another disk and reach it by a link.

A hard link to a file outside cannot be told from the file; Linux lets nobody make one to a file that they may not
write (`fs.protected_hardlinks`).
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

#: Folders in each other that are open while they are removed.
_MOST_OPEN = 64
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEVER_BLOCK = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Folder:
    """An open folder; every name is that of something directly in it. Raises OSErrors that name the path."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @property
    def by_descriptor(self) -> Path:
        """A path for libraries that take only paths. It leads here whatever is renamed; valid while this is open, in
        this process and for what is directly in the folder, where links are followed as usual."""
        return Path(f"/proc/self/fd/{self.descriptor}")

    def names(self) -> list[str]:
        """What is in the folder now. Not by the folder's own descriptor: Btrfs lists for it what was there when it was
        opened."""
        with self.folder(".") as anew:
            return os.listdir(anew.descriptor)  # noqa: PTH208  # a Path is no descriptor

    def make(self, name: str) -> None:
        """Make a folder. Raises FileExistsError if anything has the name."""
        os.mkdir(name, dir_fd=self.descriptor)

    @contextlib.contextmanager
    def folder(self, name: str) -> "Iterator[Folder]":
        """Open a folder."""
        descriptor = _open_folder(name, self)
        try:
            yield Folder(self.path / name, descriptor)
        finally:
            os.close(descriptor)

    def open(self, name: str, flags: int) -> int:
        """Open a file, which must be a regular one, without blocking."""
        path = self.path / name
        try:
            descriptor = os.open(name, flags | _NEVER_BLOCK, 0o666, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a named pipe that nobody reads
                raise _no_run_makes_that(path) from None
            raise OSError(error.errno, error.strerror, str(path)) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _no_run_makes_that(path)
        return descriptor

    def write(self, name: str, contents: str | bytes | memoryview) -> None:
        """Write a new file and flush it to the disk."""
        with os.fdopen(self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(contents.encode() if isinstance(contents, str) else contents)
            file.flush()
            os.fsync(file.fileno())

    def replace(self, name: str, contents: str | bytes) -> None:
        """Write a file that readers see whole or not at all: write a temporary file beside it, then rename it."""
        with self._beside(name, contents) as temporary:
            self.rename(temporary, name)

    def create(self, name: str, contents: str | bytes) -> None:
        """Write a new file that readers see whole or not at all: a temporary file beside it, then a link to that.

        Raises FileExistsError if anything has the name.
        """
        with self._beside(name, contents) as temporary:
            try:
                os.link(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links
                self.write(name, contents)

    @contextlib.contextmanager
    def _beside(self, name: str, contents: str | bytes) -> Iterator[str]:
        """Write a file with a name of its own, which is gone in the end."""
        temporary = f".{name}.{os.getpid()}-{secrets.token_hex(3)}"
        try:
            self.write(temporary, contents)
            yield temporary
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self.descriptor)

    def rename(self, old: str, new: str) -> None:
        try:
            os.rename(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path / new)) from None

    def link(self, name: str, target: "Folder") -> None:
        """Make a hard link with the same name in another folder, or a copy where there are none."""
        try:
            os.link(name, name, src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor, follow_symlinks=False)
        except OSError:  # a file system without hard links
            self.copy(name, target)

    def copy(self, name: str, target: "Folder") -> None:
        """Write what is in a file to a new one with the same name in another folder."""
        with os.fdopen(self.open(name, os.O_RDONLY), "rb") as file:
            target.write(name, file.read())

    def remove(self, name: str) -> None:
        """The same as `delete`, as far as that is possible."""
        with contextlib.suppress(OSError):
            self.delete(name)

    def delete(self, name: str, above: "tuple[Folder, ...]" = ()) -> None:
        """Remove a file, a link, or a folder with everything in it, however deep: of the folders that are being removed
        and hold this one, the outermost first, few are open at a time."""
        try:
            os.unlink(name, dir_fd=self.descriptor)
        except IsADirectoryError:
            if len(above) > _MOST_OPEN:  # the outermost will find it among its own
                os.rename(name, secrets.token_hex(8), src_dir_fd=self.descriptor, dst_dir_fd=above[0].descriptor)
                return
            with self.folder(name) as folder:
                while names := folder.names():
                    for inner in names:
                        folder.delete(inner, (*above, folder))
            os.rmdir(name, dir_fd=self.descriptor)

    def sync(self) -> None:
        """Flush the entries of the folder to the disk."""
        os.fsync(self.descriptor)


@contextlib.contextmanager
def folder(path: Path, below: Path, *, make: bool = False) -> Iterator[Folder]:
    """Open a folder at or below `below`; with `make`, missing ones on the way are made, but never `below` itself.

    Raises OSError, also if there is a link on the way.
    """
    names = path.relative_to(below).parts
    if ".." in names:
        raise _no_run_makes_that(path)
    here = Folder(below, os.open(below, _FOLDER))
    try:
        for name in names:
            if make:
                with contextlib.suppress(FileExistsError):
                    here.make(name)
            inner = Folder(here.path / name, _open_folder(name, here))
            os.close(here.descriptor)
            here = inner
        yield here
    finally:
        os.close(here.descriptor)


def open_file(path: Path, below: Path, flags: int, *, make: bool = False) -> int:
    """Open a regular file below `below` as `os.open` does. Raises OSError as `folder` does."""
    with folder(path.parent, below, make=make) as here:
        return here.open(path.name, flags)


def exists(path: Path, below: Path) -> bool:
    """Whether anything has a path below `below`, also a link. Raises OSError, as `folder` does, if that is not known.

    Its folder is opened anew each time: NFS then asks the server, and does not answer from a cache.
    """
    try:
        with folder(path.parent, below) as here:
            os.stat(path.name, dir_fd=here.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def touch(path: Path, below: Path) -> None:
    """Make an empty file, unless it exists."""
    os.close(open_file(path, below, os.O_WRONLY | os.O_CREAT))


def unlink(path: Path, below: Path) -> None:
    """Remove a file, if it exists."""
    with contextlib.suppress(FileNotFoundError), folder(path.parent, below) as here:
        os.unlink(path.name, dir_fd=here.descriptor)


def _open_folder(name: str, above: Folder) -> int:
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above.descriptor)
    except OSError as error:
        path = above.path / name
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _no_run_makes_that(path) from None
        raise OSError(error.errno, error.strerror, str(path)) from None


def _no_run_makes_that(path: Path) -> OSError:
    return OSError(errno.ELOOP, "a link or a special file, which no run makes: remove it first", str(path))
