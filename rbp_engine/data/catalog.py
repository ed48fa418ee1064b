"""The catalogue of data sets: those in `sets/`, one file each, and images in folders. Without torch and numpy."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Final, get_args

from rbp_engine.data import sets
from rbp_engine.data.data_set import DataMissing, DataSet, Kind, Presence
from rbp_engine.data.sets.folder import FolderSet
from rbp_engine.settings.machine import read_machine
from rbp_engine.vocabulary import FOLDER_SET

__all__ = (
    "CATALOG",
    "DataMissing",
    "DataSet",
    "Presence",
    "catalogued",
    "is_catalogued",
    "known_here",
)


def _sets() -> Iterator[DataSet]:
    """The `DATA_SETS` of each file in `sets/`."""
    for module in pkgutil.iter_modules(sets.__path__, f"{sets.__name__}."):
        yield from importlib.import_module(module.name).DATA_SETS


def _place(data_set: DataSet) -> tuple[int, int]:
    return get_args(Kind).index(data_set.kind), data_set.train_size


#: By name: images, recordings, synthetic and random ones, smaller sets first.
CATALOG: Final[Mapping[str, DataSet]] = {one.name: one for one in sorted(_sets(), key=_place)}


def catalogued(name: str) -> DataSet:
    """The data set of this name, which may be one of images in folders. Raises KeyError if there is none."""
    return FolderSet.named(name) if FOLDER_SET.fullmatch(name) else CATALOG[name]


def is_catalogued(name: str) -> bool:
    """Whether a data set is in the catalogue or one of images in folders, and not the user's own code."""
    return name in CATALOG or FOLDER_SET.fullmatch(name) is not None


def known_here() -> list[str]:
    """The data sets of the catalogue, and those of images in folders in machine.toml. Raises `MachineError`."""
    return [*CATALOG, *(name for name in read_machine().data if FOLDER_SET.fullmatch(name))]
