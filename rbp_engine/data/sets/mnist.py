"""MNIST and Fashion-MNIST from their IDX files, all in memory as uint8 (55 MB)."""

import gzip
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from rbp_engine.data.splits import DataSplits, Images
from rbp_engine.errors import DataError

# The first four bytes: two zeros, 8 for unsigned bytes, and the number of dimensions.
_MAGIC: Final = {1: b"\x00\x00\x08\x01", 3: b"\x00\x00\x08\x03"}


def mnist(folder: Path) -> DataSplits:
    """60 000 training and 10 000 test images of 28×28 pixels, from `MNIST/raw`."""
    return DataSplits(_images(folder, "train"), _images(folder, "t10k"), 10, mean=(0.1307,), deviation=(0.3081,))


def fashion_mnist(folder: Path) -> DataSplits:
    """60 000 training and 10 000 test images of 28×28 pixels, from `FashionMNIST/raw`."""
    return DataSplits(_images(folder, "train"), _images(folder, "t10k"), 10, mean=(0.2860,), deviation=(0.3530,))


def read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes, packed (.gz) or not.

    Raises ValueError, naming the file, if it is damaged or not an IDX file.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        if content[:4] != _MAGIC[dimensions]:
            raise ValueError(f"it does not begin as an IDX file of bytes in {dimensions} dimensions")
        start = 4 + 4 * dimensions
        if len(content) < start:
            raise ValueError("it ends within its header")
        shape = np.frombuffer(content, ">u4", dimensions, offset=4).astype(np.int64)
        if len(content) != start + int(shape.prod()):
            raise ValueError(f"{len(content) - start} bytes for the shape {tuple(shape.tolist())}")
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(_damaged(file, error)) from error
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def _images(folder: Path, side: str) -> Images:
    images_file = _packed_or_not(folder / f"{side}-images-idx3-ubyte")
    labels_file = _packed_or_not(folder / f"{side}-labels-idx1-ubyte")
    pixels, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if len(pixels) != len(labels) or len(labels) == 0:
        raise DataError(_damaged(labels_file, f"{len(labels)} labels for the {len(pixels)} images in {images_file}"))
    if labels.max() > 9:
        raise DataError(_damaged(labels_file, f"the label {labels.max()} is not one of 10 classes"))
    return Images(torch.from_numpy(pixels).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))


def _packed_or_not(file: Path) -> Path:
    packed = file.with_name(file.name + ".gz")
    return packed if packed.exists() and not file.exists() else file


def _damaged(file: Path, reason: Any) -> str:
    return f"{file} is damaged ({reason}): fetch or copy it again"
