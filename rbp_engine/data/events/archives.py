"""Arrays in zip archives, as numpy writes them: what one declares is held against what is there before it is read."""

import io
import math
import zipfile
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from rbp_engine.data.events.aedat import MOST_EVENTS
from rbp_engine.data.files import open_data, read_data
from rbp_engine.errors import DataError
from rbp_engine.untrusted_files import MIB

Array = npt.NDArray[Any]

# Bytes of an archive, and of an array of events or times: 64-bit numbers of the largest recording, and a header.
_LARGEST: Final = 160 * MIB
_LARGEST_EVENTS: Final = 8 * MOST_EVENTS + 2**16
_MOST_MEMBERS: Final = 32
_ENTRY: Final = b"PK\x01\x02"
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Some errors of numpy repeat what the file says.
_LONGEST_REASON: Final = 120


def read_events(path: Path) -> list[Array]:
    """Times, columns, rows and polarities, each [events], in the arrays t, x, y and p of a file, as SpikingJelly has.

    Raises DataError that names the file, DataError for what is no file or too large, and OSError.
    """
    content = read_data(path, _LARGEST)
    try:
        # Python reads the whole list of members, of which a file of this size can have millions, each with this mark.
        if content.count(_ENTRY) > _MOST_MEMBERS:
            raise ValueError(f"it has more than {_MOST_MEMBERS} members")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = [_array(archive, f"{name}.npy") for name in "txyp"]
    except Exception as error:  # a damaged file may raise anything in its reader
        raise damaged(path, error) from error
    if len({array.shape for array in arrays}) != 1 or arrays[0].ndim != 1:
        raise DataError(f"{path} holds t, x, y, p that are not four rows of equal length: convert or copy it again")
    if len(arrays[0]) > MOST_EVENTS:
        raise DataError(f"{path} has {len(arrays[0])} events, more than {MOST_EVENTS}: copy it again")
    if not all(np.isfinite(array).all() for array in arrays):
        raise DataError(f"{path} holds numbers that are not finite: convert or copy it again")
    return arrays


def damaged(path: Path, error: Exception) -> DataError:
    """The error for a file whose reader has raised this one."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    reason = line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"
    return DataError(f"{path} is truncated or damaged ({reason}): convert or copy it again")


def map_array(path: Path) -> Array:
    """The array in a .npy file as a memory map. Raises all sorts of errors for a damaged one, and as `open_data`."""
    with open_data(path) as file:
        shape, by_columns, kind = _header(file)
        return np.memmap(file, kind, "r", file.tell(), shape, "F" if by_columns else "C")


def _array(archive: zipfile.ZipFile, name: str) -> Array:
    info = archive.getinfo(name)
    if info.file_size > _LARGEST_EVENTS or info.compress_type not in _METHODS:
        raise ValueError(f"{name} is larger than {_LARGEST_EVENTS} bytes, or packed in another way than numpy does")
    with archive.open(info) as packed:
        file = io.BytesIO(packed.read(info.file_size))  # without a number zipfile unpacks whatever there is
    shape, by_columns, kind = _header(file)
    size = file.tell() + math.prod(shape) * kind.itemsize
    if size != len(file.getbuffer()):
        raise ValueError(f"{name} says to have {size} bytes, and has {len(file.getbuffer())}")
    return np.frombuffer(file.getbuffer(), kind, offset=file.tell()).reshape(shape, order="F" if by_columns else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of the array in a file of numpy's format. Raises ValueError if it holds no numbers."""
    np.lib.format.read_magic(file)
    shape, by_columns, kind = np.lib.format.read_array_header_1_0(file)
    if kind.kind not in "biuf" or min(shape, default=0) < 0:
        raise ValueError(f"it holds no numbers but {kind}, or less than none")
    return shape, by_columns, kind
