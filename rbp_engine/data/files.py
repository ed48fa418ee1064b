"""Open and read the files of data sets, which somebody else may have made."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from rbp_engine.errors import DataError
from rbp_engine.untrusted_files import MIB, NotAFile, TooLarge, open_untrusted, read_untrusted

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


def checksum(path: str | Path, algorithm: str, limit: int | None = None) -> str:
    """The hexadecimal digest of a regular file of at most `limit` bytes. Raises the OSErrors of `open_untrusted`."""
    with open_untrusted(path, limit=limit) as file:
        digest = hashlib.new(algorithm, usedforsecurity=False)
        while part := file.read(MIB):
            digest.update(part)
    return digest.hexdigest()


def size_of(file: BinaryIO) -> int:
    """The bytes in an open file."""
    return os.fstat(file.fileno()).st_size


@contextmanager
def _as_data_error() -> Iterator[None]:
    try:
        yield
    except (NotAFile, TooLarge) as error:
        raise DataError(f"{error}; remove it, or put the real file in its place") from error
