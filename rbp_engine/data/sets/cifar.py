"""CIFAR-10 and CIFAR-100 from their Python batches, all in memory as uint8 (180 MB)."""

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rbp_engine.data.splits import DataSplits, Images
from rbp_engine.errors import DataError


def cifar10(folder: Path) -> DataSplits:
    """50 000 training and 10 000 test images from `cifar-10-batches-py`."""
    return DataSplits(
        _images([folder / f"data_batch_{number}" for number in range(1, 6)], b"labels", 10),
        _images([folder / "test_batch"], b"labels", 10),
        classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        deviation=(0.2023, 0.1994, 0.2010),
    )


def cifar100(folder: Path) -> DataSplits:
    """50 000 training and 10 000 test images from `cifar-100-python`, the 100 fine labels."""
    return DataSplits(
        _images([folder / "train"], b"fine_labels", 100),
        _images([folder / "test"], b"fine_labels", 100),
        classes=100,
        mean=(0.5071, 0.4867, 0.4408),
        deviation=(0.2675, 0.2565, 0.2761),
    )


def _images(files: list[Path], labels_key: bytes, classes: int) -> Images:
    batches = [_read(file, labels_key, classes) for file in files]
    pixels = np.concatenate([data for data, _ in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([labels for _, labels in batches])
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels))


def _read(file: Path, labels_key: bytes, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels and labels of one batch file. Raises ValueError, naming the file, if it is damaged or a different file."""
    written = file.read_bytes()
    try:
        batch = _ArraysOnly(io.BytesIO(written), encoding="bytes").load()
        array, labels = batch[b"data"], batch[labels_key]
        if not isinstance(array, _Array):
            raise ValueError("the images are no array")
        data = array.pixels()
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise ValueError("the labels are no list of whole numbers")
        if data.shape != (len(labels), 3 * 32 * 32):
            raise ValueError(f"data of shape {data.shape} for {len(labels)} labels")
        if min(labels) < 0 or max(labels) >= classes:
            raise ValueError(f"the labels {min(labels)} to {max(labels)} are not those of {classes} classes")
    except Exception as error:
        why = str(error) or type(error).__name__
        raise DataError(f"{file} is damaged ({why}): fetch or copy it again, rbp data check shows which") from error
    return data, np.array(labels, dtype=np.int64)


class _StandIn:
    """Replaces numpy's classes when unpickling: only records its arguments, and does nothing with them."""

    def __setstate__(self, state: Any) -> None:
        """Ignore the state: without this method, a pickle could set attributes of the object."""


class _Type(_StandIn):
    """Replaces `numpy.dtype`, keeping its name. The rest of its state, such as byte order, is irrelevant for bytes."""

    def __init__(self, name: str | bytes, *flags: Any) -> None:
        self.name = name


class _Array(_StandIn):
    """A numpy array as pickled: shape, type, order and bytes, which need not be consistent."""

    state: Any = None

    def __init__(self, *made_empty: Any) -> None:
        """The pickle creates an empty array first, then sets its state."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def pixels(self) -> NDArray[np.uint8]:
        """The array, made from its bytes. Raises ValueError if it is not of unsigned bytes, or incomplete."""
        _, shape, kind, by_columns, content = self.state
        if not isinstance(kind, _Type) or kind.name not in ("u1", b"u1"):
            raise ValueError("data that are no unsigned bytes")
        if not all(type(size) is int and size >= 0 for size in shape) or len(content) != math.prod(shape):
            raise ValueError(f"data of shape {shape} in {len(content)} bytes")
        return np.frombuffer(content, np.uint8).reshape(shape, order="F" if by_columns else "C")


class _Latin1(_StandIn):
    """`_codecs.encode`, with which Python 3 writes bytes in Python 2's protocols; latin1 only: others may be slow."""

    def __new__(cls, text: str, codec: str | bytes) -> Any:
        if codec not in ("latin1", b"latin1"):
            raise pickle.UnpicklingError(f"it has bytes in {codec!r:.40}")
        return text.encode("latin1")


# By the names that all versions of numpy have written; files of these data sets need no others.
_STAND_INS: dict[tuple[str, str], type[_StandIn]] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _Latin1,
}


class _ArraysOnly(pickle._Unpickler):
    """Reads pickled arrays of bytes and refuses everything else: a data file must not execute code or end the process.

    It derives from the unpickler written in Python: the one in C allocates memory for as many objects as the file
    claims, and a few bytes can claim billions.
    """

    def find_class(self, module: str, name: str) -> type[_StandIn]:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is no array")
        return _STAND_INS[module, name]
