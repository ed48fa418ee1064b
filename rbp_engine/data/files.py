"""Open and read the files of data sets, which somebody else may have made."""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final, TypeVar

from rbp_engine.errors import DataError
from rbp_engine.untrusted_files import NotAFile, TooLarge, described, open_untrusted, read_untrusted

Result = TypeVar("Result")

#: The folders of images to train and to evaluate on; of the user's own test folders the first that is there is taken.
SIDES: Final = ("train", "val")
TEST_SIDES: Final = ("test", "val")


def open_data(path: str | Path, limit: int | None = None) -> BufferedReader:
    """Open a regular file, of at most `limit` bytes.

    Raises DataError, naming the path, if it is something else, such as a named pipe, or larger; and the OSErrors of
    `open`.
    """
    with _as_data_error():
        return open_untrusted(path, limit=limit)


def read_data(path: str | Path, limit: int) -> bytes:
    """The contents of a regular file of at most `limit` bytes. Raises as `open_data` does."""
    with _as_data_error():
        return read_untrusted(path, limit)


def read_published(path: Path, md5: str, limit: int) -> bytes:
    """The content of a file with this md5, of at most `limit` bytes; unpacked, where its name ends in `.gz`.

    Raises DataError, naming the path, for another content or what is no file, and the OSErrors of `open`.
    """
    with open_data(path, limit) as file:
        try:
            content = (gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file).read(limit + 1)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{path} is damaged ({error}): fetch or copy it again") from error
    actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if actual != md5:
        raise DataError(f"{path} is damaged or another version (md5 {actual}, not {md5}): fetch or copy it again")
    return content


def problems_of(reads: Iterable[Callable[[], object]]) -> list[str]:
    """Why what is read cannot be used, of each that cannot."""
    problems: list[str] = []
    for read in reads:
        attempted(read, problems)
    return problems


def attempted(read: Callable[[], Result], problems: list[str]) -> Result | None:
    """What is read; None if it cannot be used, and why is added to the problems."""
    try:
        return read()
    except DataError as error:
        problems.append(str(error))
    except OSError as error:
        problems.append(described(error))
    return None


def checksum(path: str | Path) -> str:
    """The SHA-256 of a regular file. Raises the OSErrors of `open_untrusted`."""
    with open_untrusted(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _as_data_error() -> Iterator[None]:
    try:
        yield
    except (NotAFile, TooLarge) as error:
        raise DataError(f"{error}; remove it, or put the real file in its place") from error
