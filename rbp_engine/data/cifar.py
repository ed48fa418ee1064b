"""CIFAR-10 and CIFAR-100 from their Python batches, all of it in memory as uint8 (180 MB)."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rbp_engine.data.splits import DataSplits, Images

# Names that a pickled array of numpy refers to, from every numpy that has written one. Nothing else is loaded.
_HARMLESS = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
}


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


def _read(file: Path, labels_key: bytes, classes: int) -> tuple[Any, Any]:
    """Pixels and labels of one batch file. Raises ValueError, naming the file, where it is damaged or another."""
    try:
        with file.open("rb") as stream:
            batch = _ArraysOnly(stream, encoding="bytes").load()
        data, labels = batch[b"data"], np.asarray(batch[labels_key], dtype=np.int64)
        if data.dtype != np.uint8 or data.shape != (len(labels), 3 * 32 * 32):
            raise ValueError(f"data of shape {data.shape} and type {data.dtype} for {len(labels)} labels")
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"the labels {labels.min()} to {labels.max()} are not those of {classes} classes")
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{file} is damaged ({error}): fetch or copy it again, rbp data check shows which") from error
    return data, labels


class _ArraysOnly(pickle.Unpickler):
    """Reads pickled numpy arrays and refuses everything else: a data file must not execute code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is no array")
        return super().find_class(module, name)
