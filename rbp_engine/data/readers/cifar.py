"""The Python batches of CIFAR-10 and CIFAR-100, all in memory as uint8 (180 MB)."""

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from rbp_engine.data.files import read_data
from rbp_engine.data.readers.pickles import Call, unpickle
from rbp_engine.data.splits import Images
from rbp_engine.errors import DataError

# By the names that all versions of numpy have written.
_RECONSTRUCT: Final = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_FROM_BUFFER: Final = ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer")
_NAMES: Final = ("numpy.dtype", "numpy.ndarray", "_codecs.encode", *_RECONSTRUCT, *_FROM_BUFFER)


def read_images(files: list[Path], labels_key: bytes, classes: int, largest: int) -> Images:
    """The images of batch files of at most `largest` bytes. Raises ValueError, naming the file, for a damaged one."""
    batches = [_read(file, labels_key, classes, largest) for file in files]
    pixels = np.concatenate([data for data, _ in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([labels for _, labels in batches])
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels))


def _read(file: Path, labels_key: bytes, classes: int, largest: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels and labels of one batch file. Raises ValueError, naming the file, if it is damaged or a different file."""
    written = read_data(file, largest)
    try:
        batch = unpickle(written, _NAMES)
        labels = batch[labels_key]
        if type(labels) is not list or not all(type(label) is int for label in labels):
            raise ValueError("the labels are no list of whole numbers")
        if not labels or min(labels) < 0 or max(labels) >= classes:
            raise ValueError(f"it has no labels, or others than 0 to {classes - 1}")
        data = _pixels(batch[b"data"], len(labels))
    except Exception as error:
        why = str(error) or type(error).__name__
        raise DataError(f"{file} is damaged ({why}): fetch or copy it again, rbp data check shows which") from error
    return data, np.array(labels, dtype=np.int64)


def _pixels(array: Any, images: int) -> NDArray[np.uint8]:
    """The pixels [images, 3072] of a recorded array, made from its bytes. Raises ValueError if it says otherwise."""
    by_columns: bool
    match array:
        case Call(function, state=(_, shape, kind, by_columns, content)) if function in _RECONSTRUCT:
            pass
        case Call(function, (content, kind, shape, order)) if function in _FROM_BUFFER:
            by_columns = order == "F"
        case _:
            raise ValueError("the images are no array")
    match kind:
        case Call("numpy.dtype", ("u1" | b"u1", *_)):
            pass
        case _:
            raise ValueError("data that are no unsigned bytes")
    expected = (images, 3 * 32 * 32)
    # A shape of another kind may be endless in words, so none is told.
    if shape != expected or type(content) is not bytes or len(content) != math.prod(expected):
        raise ValueError(f"the data are not {expected[1]} bytes for each of {images} labels")
    return np.frombuffer(content, np.uint8).reshape(expected, order="F" if by_columns else "C")
