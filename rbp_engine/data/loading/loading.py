"""Load a data set by name, from wherever it is on this machine."""

from collections.abc import Callable
from pathlib import Path

from rbp_engine.data.catalog import DataMissing, data_roots, presence
from rbp_engine.data.readers.cifar import cifar10, cifar100
from rbp_engine.data.readers.mnist import fashion_mnist, mnist
from rbp_engine.data.sets.digits import digits
from rbp_engine.data.sets.mnist5k import mnist5k
from rbp_engine.data.splits import DataSplits

# Sets that come in a Python package, and sets that are read from a folder.
PACKAGED: dict[str, Callable[[], DataSplits]] = {"digits": digits, "mnist5k": mnist5k}
FOLDERS: dict[str, Callable[[Path], DataSplits]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
}


def load(name: str) -> DataSplits:
    """The data set in memory.

    Raises DataMissing if it is not on this machine, DataError for a damaged file, ValueError for an unknown name.
    """
    if name not in PACKAGED and name not in FOLDERS:
        raise ValueError(f"unknown data set {name!r}: one of {', '.join([*PACKAGED, *FOLDERS])}")
    found = presence(name, data_roots(name))
    if not found.found:
        raise DataMissing(found)
    if name in PACKAGED:
        return PACKAGED[name]()
    if found.path is None:
        raise DataMissing(found)
    return FOLDERS[name](found.path)
