"""Arrays in zip archives, as numpy and torch write them: what one declares is held against what is there, then read.

Neither library's own reader is used: they make room for what a file declares, whatever that is.
"""

import io
import itertools
import math
import pickle
import re
import reprlib
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from rbp_engine.data.events.errors import EventDataError
from rbp_engine.data.files import open_data, read_data, size_of
from rbp_engine.data.readers.pickles import Call, Name, Persistent, unpickle
from rbp_engine.untrusted_files import MIB

Array = npt.NDArray[Any]

#: Ways to store the bytes that numpy and torch use.
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Bytes of an archive and of each array: four of the largest recording's events as 64-bit numbers.
_LARGEST: Final = 160 * MIB
_MOST_MEMBERS: Final = 32
_ENTRY: Final = re.compile(rb"PK\x01\x02")
_LARGEST_PICKLE: Final = MIB
_LONGEST_HEADER: Final = 2048
_HEADER: Final = re.compile(
    rb"\{'descr': (?P<kind>.+), 'fortran_order': (?P<by_columns>True|False), "
    rb"'shape': \((?P<shape>(?:-?\d++L?+(?:, ?+)?+)*+)\),? *\}\s*"
)
_NUMBERS: Final = re.compile(rb"'([<>|=]?(?:b1|[iu][1248]|f[248]))'")
_REBUILD: Final = "torch._utils._rebuild_tensor_v2"
_STORAGES: Final = {
    "torch.DoubleStorage": "<f8", "torch.FloatStorage": "<f4", "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8", "torch.IntStorage": "<i4", "torch.ShortStorage": "<i2",
    "torch.CharStorage": "i1", "torch.ByteStorage": "u1", "torch.BoolStorage": "?",
}  # fmt: skip
#: What an archive, its pickle or its compressed bytes may raise where they are damaged.
ERRORS: Final = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError, RecursionError, MemoryError,
    NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError,
)  # fmt: skip


class NoArray(KeyError):
    """An archive does not hold the array of this name."""

    def __str__(self) -> str:
        return str(self.args[0])


def read_npz(path: Path, names: Sequence[str]) -> dict[str, "Member"]:
    """The arrays of these names in a .npz file, of which the headers are read.

    Raises NoArray, others of ERRORS for a damaged file, and what `read_data` raises.
    """
    archive = _open(path)
    if missing := [name for name in names if f"{name}.npy" not in archive.namelist()]:
        raise NoArray(f"{missing[0]}.npy")
    return {name: Member(archive, f"{name}.npy") for name in names}


class Member:
    """An array in an archive: its `shape` and type are known, its numbers are not read yet."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self.archive = archive
        self.info = _member(archive, name)
        with archive.open(self.info) as file:
            try:
                shape, self.by_columns, self.type = read_header(file)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            self.start = file.tell()
        _check_size(name, shape, self.type, self.start, self.info.file_size)
        self.shape: tuple[int, ...] = shape

    def read(self) -> Array:
        """The array, which cannot be written. Raises ValueError if it is not there in full."""
        content = read_member(self.archive, self.info.filename, self.info.file_size, whole=True)
        values = np.frombuffer(content, self.type, offset=self.start)
        return values.reshape(self.shape, order="F" if self.by_columns else "C")


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of the array in a file of numpy's format. Raises ValueError if it holds no numbers.

    Numpy's own reader takes any Python literal, with what the compiler says of it, and any type.
    """
    magic, length = struct.unpack("<8sH", _exactly(file, 10))
    if magic != b"\x93NUMPY\x01\x00" or length > _LONGEST_HEADER:
        raise ValueError("it does not begin as an array of numpy's format 1.0")
    header = _HEADER.fullmatch(_exactly(file, length))
    if header is None:
        raise ValueError("its header is none of an array")
    kind = _NUMBERS.fullmatch(header["kind"])
    if kind is None:
        raise ValueError(f"it holds no numbers but {header['kind'][:40].decode('ascii', 'replace')}")
    shape = tuple(int(length) for length in re.findall(rb"-?\d+", header["shape"]))
    return shape, header["by_columns"] == b"True", np.dtype(kind[1].decode())


def map_array(path: Path) -> Array:
    """The array in a .npy file as a memory map. Raises one of ERRORS for a damaged file, and as `open_data` does."""
    with open_data(path) as file:
        shape, by_columns, kind = read_header(file)
        start = file.tell()
        _check_size(path, shape, kind, start, size_of(file))
        return np.memmap(file, kind, "r", start, shape, "F" if by_columns else "C")


def read_tensors(path: Path, most_numbers: Sequence[int]) -> list[Array]:
    """The tensors of a file that holds a list of as many, written by torch.save; each has at most so many numbers.

    Raises as `read_npz` does.
    """
    archive = _open(path)
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("it was not written by torch.save of torch 1.6 or later")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist() and read_member(archive, f"{folder}byteorder", 16) != b"little":
        raise ValueError("its numbers are not in little-endian order")
    names = (_REBUILD, "collections.OrderedDict", *_STORAGES)
    recorded = unpickle(read_member(archive, pickles[0], _LARGEST_PICKLE), names)
    if type(recorded) not in (list, tuple) or len(recorded) != len(most_numbers):
        raise ValueError(f"it does not hold {len(most_numbers)} tensors")
    return [_tensor(archive, folder, one, most) for one, most in zip(recorded, most_numbers, strict=True)]


def check_archive(path: Path) -> None:
    """Raise DataError for what is no file, too large, or does not begin as a zip archive; the rest is not read."""
    with open_data(path, _LARGEST) as file:
        if file.read(4) != b"PK\x03\x04":
            raise EventDataError(f"{path} is no zip archive, as numpy and torch write them: convert or copy it again")


def _tensor(archive: zipfile.ZipFile, folder: str, recorded: Any, most: int) -> Array:
    match recorded:
        case Call(
            function,
            (Persistent(("storage", Name(storage), str(key), str(), int(stored))), int(offset), shape, strides, *_),
        ) if function == _REBUILD and storage in _STORAGES:
            pass
        case _:
            raise ValueError("it does not hold tensors alone")
    kind = np.dtype(_STORAGES[storage])
    lengths = (*_lengths(shape), *_lengths(strides))
    if len(shape) != len(strides) or min(lengths, default=0) < 0 or offset < 0 or not 0 <= stored * 8 <= _LARGEST:
        raise ValueError(f"a tensor says to be of the shape {_short(shape)}")
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if math.prod(shape) > most or (math.prod(shape) and last >= stored):
        raise ValueError(f"a tensor says to be of the shape {_short(shape)} in {stored} numbers")
    values = np.frombuffer(read_member(archive, f"{folder}data/{key}", stored * kind.itemsize, whole=True), kind)
    steps = [stride * kind.itemsize for stride in strides]
    view = np.lib.stride_tricks.as_strided(values[offset:], shape, steps, writeable=False)
    return np.array(view)


def _lengths(values: Any) -> tuple[int, ...]:
    if type(values) is not tuple or len(values) > 8 or not all(type(one) is int for one in values):
        raise ValueError("a tensor has no shape")
    return values


def _open(path: Path) -> zipfile.ZipFile:
    content = read_data(path, _LARGEST)
    # Python reads the whole list of members, of which a file of this size can have millions, each with this mark.
    if len(list(itertools.islice(_ENTRY.finditer(content), _MOST_MEMBERS + 1))) > _MOST_MEMBERS:
        raise ValueError(f"it has more than {_MOST_MEMBERS} members")
    return zipfile.ZipFile(io.BytesIO(content))


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    info = archive.getinfo(name)
    if info.compress_type not in _METHODS or info.flag_bits & 1:
        raise ValueError(f"{name[:80]} is packed in another way than numpy and torch do")
    if info.file_size > _LARGEST:
        raise ValueError(f"{name[:80]} is larger than {_LARGEST // MIB} MiB")
    return info


def read_member(archive: zipfile.ZipFile, name: str, most: int, whole: bool = False) -> bytes:
    """The contents of a member: at most so many bytes, or exactly as many. Raises one of ERRORS."""
    info = _member(archive, name)
    if info.file_size > most or (whole and info.file_size != most):
        raise ValueError(f"{name[:80]} has {info.file_size} bytes, not {most}")
    with archive.open(info) as file:
        content = _exactly(file, info.file_size)
        # The end is reached by reading, and the checksum is compared there.
        if file.read(1):
            raise ValueError(f"{name[:80]} has more than {info.file_size} bytes")
        return content


def _check_size(name: str | Path, shape: Sequence[int], kind: np.dtype[Any], start: int, size: int) -> None:
    """Raise ValueError unless the array, from byte `start` on, fills a file of this size."""
    if min(shape, default=0) < 0 or size != start + math.prod(shape) * kind.itemsize:
        raise ValueError(f"{name} says to be of the shape {_short(shape)} in {size} bytes")


def _exactly(file: IO[bytes], size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise ValueError(f"{len(content)} bytes in place of {size}")
    return content


def _short(shape: Sequence[int]) -> str:
    return reprlib.repr(list(shape))
