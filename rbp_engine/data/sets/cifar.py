"""CIFAR-10 and CIFAR-100."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rbp_engine.data.images import PublishedImages
from rbp_engine.untrusted_files import MIB

if TYPE_CHECKING:
    from rbp_engine.data.splits import Images

_PAGE: Final = "https://www.cs.toronto.edu/~kriz/cifar.html"
#: Also those of the recordings of its images.
CIFAR10_CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_CIFAR100_CLASSES: Final = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
    "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger",
    "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cifar(PublishedImages):
    """Images in Python's pickles: `files` are those to train on, one to test on, and one with names of classes.

    `labels` is the name of the labels in them.
    """

    labels: bytes

    def images(self, folder: Path) -> "tuple[Images, Images]":
        import numpy as np
        import torch

        from rbp_engine.data.splits import Images

        # A pickle is a program: these have been compared with the published ones.
        *train, test, _ = (pickle.loads(content, encoding="bytes") for content in self.contents(folder))

        def side(batches: list[dict[bytes, Any]]) -> Images:
            pixels = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32)
            labels = [label for batch in batches for label in batch[self.labels]]
            return Images(torch.from_numpy(pixels), torch.tensor(labels))

        return side(train), side([test])


DATA_SETS = (
    Cifar(
        name="cifar10",
        paper_name="CIFAR-10",
        title="CIFAR-10",
        classes=10,
        class_names=CIFAR10_CLASSES,
        channels=3,
        image_size=(32, 32),
        train_size=50_000,
        test_size=10_000,
        origin=f"{_PAGE} (python version)",
        layout="cifar-10-batches-py/ with data_batch_1 to data_batch_5, test_batch and batches.meta",
        download="CIFAR10",
        labels=b"labels",
        mean=(0.4914, 0.4822, 0.4465),
        deviation=(0.2023, 0.1994, 0.2010),
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
    Cifar(
        name="cifar100",
        paper_name="CIFAR-100",
        title="CIFAR-100",
        classes=100,
        class_names=_CIFAR100_CLASSES,
        channels=3,
        image_size=(32, 32),
        train_size=50_000,
        test_size=10_000,
        origin=f"{_PAGE} (python version)",
        layout="cifar-100-python/ with train, test and meta",
        download="CIFAR100",
        labels=b"fine_labels",
        largest=256 * MIB,
        mean=(0.5071, 0.4867, 0.4408),
        deviation=(0.2675, 0.2565, 0.2761),
        folder="cifar-100-python",
        files=(
            ("train", "16019d7e3df5f24257cddd939b257f8d"),
            ("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
            ("meta", "7973b15100ade9c7d40fb424638fde48"),
        ),
    ),
)
