"""MNIST and Fashion-MNIST: 60 000 training and 10 000 test images of 28×28 pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rbp_engine.data.data_set import FOR_GREY_IMAGES
from rbp_engine.data.images import PublishedImages
from rbp_engine.errors import DataError

if TYPE_CHECKING:
    from rbp_engine.data.splits import Images

SIDES: Final = ("train", "t10k")


@dataclass(frozen=True, kw_only=True)
class IdxImages(PublishedImages):
    """Images in IDX files, packed or not."""

    takes: tuple[str, ...] = FOR_GREY_IMAGES

    def images(self, folder: Path) -> "tuple[Images, Images]":
        from rbp_engine.data.readers.mnist import read_side

        train, test = (read_side(folder, side) for side in SIDES)
        return train, test

    def problems(self, folder: Path | None) -> list[str]:
        """Problems of the files that training reads: what it would refuse, and content that is not the published."""
        from rbp_engine.data.readers.mnist import content_md5, read_side, side_files

        folder = folder or Path()
        problems, expected = [], {name.removesuffix(".gz"): md5 for name, md5 in self.files}
        for side in SIDES:
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


DATA_SETS = (
    IdxImages(
        name="mnist",
        paper_name="MNIST",
        title="MNIST",
        classes=10,
        class_names=tuple("0123456789"),
        channels=1,
        image_size=(28, 28),
        mean=(0.1307,),
        deviation=(0.3081,),
        train_size=60_000,
        test_size=10_000,
        origin="http://yann.lecun.com/exdb/mnist",
        layout="MNIST/raw/ with the four idx files, packed (.gz) or not",
        download="MNIST",
        folder="MNIST/raw",
        files=(
            ("train-images-idx3-ubyte.gz", "6bbc9ace898e44ae57da46a324031adb"),
            ("train-labels-idx1-ubyte.gz", "a25bea736e30d166cdddb491f175f624"),
            ("t10k-images-idx3-ubyte.gz", "2646ac647ad5339dbf082846283269ea"),
            ("t10k-labels-idx1-ubyte.gz", "27ae3e4e09519cfbb04c329615203637"),
        ),
    ),
    IdxImages(
        name="fashion_mnist",
        paper_name="Fashion-MNIST",
        title="Fashion-MNIST",
        classes=10,
        class_names=(
            "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
        ),
        channels=1,
        image_size=(28, 28),
        mean=(0.2860,),
        deviation=(0.3530,),
        train_size=60_000,
        test_size=10_000,
        origin="https://github.com/zalandoresearch/fashion-mnist",
        layout="FashionMNIST/raw/ with the four idx files, packed (.gz) or not",
        download="FashionMNIST",
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
)  # fmt: skip
