"""The IDX files of MNIST and Fashion-MNIST, all in memory as uint8 (55 MB)."""

import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from numpy.typing import NDArray

from rbp_engine.data.files import open_data, size_of
from rbp_engine.data.splits import Images
from rbp_engine.errors import DataError
from rbp_engine.untrusted_files import MIB

# The first four bytes: two zeros, 8 for unsigned bytes, and the number of dimensions.
_MAGIC: Final = {1: b"\x00\x00\x08\x01", 3: b"\x00\x00\x08\x03"}
_SIDE: Final = 28
# Five times as many as the 60 000 training images have.
_MOST_BYTES: Final = 2**28
# How many bytes one packed byte can stand for.
_DEFLATE_RATIO: Final = 1032


def read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes, packed (.gz) or not.

    Raises ValueError, naming the file, if it is damaged or not an IDX file.
    """
    with open_data(file, _MOST_BYTES + MIB) as stream:
        try:
            return _read_array(stream, dimensions, packed=file.suffix == ".gz")
        except (ValueError, EOFError, zlib.error) as error:
            raise DataError(_damaged(file, error)) from error


def content_md5(file: Path) -> str:
    """The MD5 of the content of an IDX file, packed (.gz) or not. Raises DataError if it cannot be unpacked."""
    digest = hashlib.md5(usedforsecurity=False)
    with open_data(file, _MOST_BYTES + MIB) as stream:
        content: BinaryIO | _Unpacked = _Unpacked(stream) if file.suffix == ".gz" else stream
        try:
            while part := content.read(MIB):
                digest.update(part)
        except (ValueError, EOFError, zlib.error) as error:
            raise DataError(_damaged(file, error)) from error
    return digest.hexdigest()


def read_side(folder: Path, side: str) -> Images:
    """The images of `side`, "train" or "t10k". Raises ValueError, naming the file, for what training cannot use."""
    images_file, labels_file = side_files(folder, side)
    pixels = read_idx(images_file, 3)
    if pixels.shape[1:] != (_SIDE, _SIDE):
        height, width = pixels.shape[1:]
        raise DataError(_damaged(images_file, f"images of {height} × {width} pixels, expected {_SIDE} × {_SIDE}"))
    labels = read_idx(labels_file, 1)
    if len(pixels) != len(labels) or len(labels) == 0:
        raise DataError(_damaged(labels_file, f"{len(labels)} labels for the {len(pixels)} images in {images_file}"))
    if labels.max() > 9:
        raise DataError(_damaged(labels_file, f"the label {labels.max()} is not one of 10 classes"))
    return Images(torch.from_numpy(pixels).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))


def side_files(folder: Path, side: str) -> tuple[Path, Path]:
    """The files with the images and the labels of "train" or "t10k"; of packed and unpacked ones the latter."""
    return _packed_or_not(folder / f"{side}-images-idx3-ubyte"), _packed_or_not(folder / f"{side}-labels-idx1-ubyte")


def _read_array(stream: BinaryIO, dimensions: int, packed: bool) -> NDArray[np.uint8]:
    content: BinaryIO | _Unpacked = _Unpacked(stream) if packed else stream
    start, size = 4 + 4 * dimensions, size_of(stream)
    header = content.read(start)
    if header[:4] != _MAGIC[dimensions]:
        raise ValueError(f"it does not begin as an IDX file of bytes in {dimensions} dimensions")
    if len(header) < start:
        raise ValueError("it ends within its header")
    shape = struct.unpack_from(f">{dimensions}I", header, 4)
    count = math.prod(shape)
    if count > _MOST_BYTES:
        raise ValueError(f"it says to be of the shape {shape}, more than {_MOST_BYTES} bytes")
    if not packed and size != start + count:
        raise ValueError(f"{size - start} bytes for the shape {shape}")
    if packed and count > _DEFLATE_RATIO * size:
        raise ValueError(f"{size} packed bytes cannot be the shape {shape}")
    values = np.empty(count, np.uint8)
    filled = 0
    while part := content.read(min(MIB, count - filled)):
        values[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
        filled += len(part)
    if filled < count or content.read(1):
        raise ValueError(f"{'fewer' if filled < count else 'more'} bytes than the shape {shape} has")
    return values.reshape(shape)


class _Unpacked:
    """The contents of a gzip file of one member, a part at a time. Raises EOFError, ValueError and zlib.error."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.unpacker = zlib.decompressobj(wbits=31)

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end."""
        if size == 0:
            return b""
        while not self.unpacker.eof:
            packed = self.unpacker.unconsumed_tail or self.stream.read(MIB)
            if part := self.unpacker.decompress(packed, size):
                return part
            if not packed:
                raise EOFError("its archive ends too early")
        if self.unpacker.unused_data or self.stream.read(1):
            raise ValueError("its archive goes on after its end")
        return b""


def _packed_or_not(file: Path) -> Path:
    packed = file.with_name(file.name + ".gz")
    return packed if packed.exists() and not file.exists() else file


def _damaged(file: Path, reason: Any) -> str:
    return f"{file} is damaged ({reason}): fetch or copy it again"
